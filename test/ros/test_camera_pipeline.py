"""Regions of one camera are described again between keyframes, and its view is compared."""

import itertools
import time

import numpy as np
import pytest
from std_msgs.msg import Header

from deep_perception.analyzer import Analyzer
from deep_perception.describers.attributes import Attributes
from deep_perception.description.queue import DescriptionQueue
from deep_perception.regions import Description
from deep_perception.ros import messages
from deep_perception.ros.camera_pipeline import LOOK_PERIOD_S, NEW_VIEW, CameraPipeline
from deep_perception.ros.latest import Latest
from deep_perception.ros.publishers import Publishers
from deep_perception.ros.received_frame import ReceivedFrame
from deep_perception.settings.options import settings_from
from deep_perception_msgs.msg import DescribedRegionArray

pytestmark = pytest.mark.ros
AGAIN = 2


class Unable(Attributes):
    """Unavailable at first, so that the fallback describes; then available, but failing."""

    name, instant = "unable", False
    available = False
    asked = 0

    def describe(self, image, regions):
        for region in regions:
            if not Unable.available:
                text = "A thing."
                yield (
                    region,
                    Description(
                        status="described", label="thing", text=text, describer="attributes"
                    ),
                )
                continue
            Unable.asked += 1
            yield region, Description(status="failed", describer=self.name, error="no words")


def frame(second):
    image = np.full((240, 320, 3), (200, 190, 180), np.uint8)
    image[40:120, 40:140] = (30, 30, 200)
    image[140:220, 180:300] = (40, 160, 40)
    message = messages.to_image(image, Header())
    message.header.stamp.sec = second
    return ReceivedFrame(message, 0.0)


@pytest.fixture
def scenes(graph):
    return graph.listen(DescribedRegionArray, f"/{graph.node.get_name()}/regions")


@pytest.fixture
def view(graph):
    made = CameraPipeline(
        name="",
        publishers=Publishers(graph.node, ""),
        warn=pytest.fail,
        inform=lambda message: None,
    )
    questions = DescriptionQueue()
    made.live.connect(questions)
    yield made
    questions.close(60)
    made.close()


def settled(pipeline):
    """Wait until no description of the camera is on its way."""
    ends_s = time.monotonic() + 60
    while pipeline.live.is_describing and time.monotonic() < ends_s:
        time.sleep(0.005)
    assert not pipeline.live.is_describing


def never():
    return False


def test_words_that_cannot_be_had_are_asked_for_once_a_keyframe_and_nothing_is_repeated(
    graph, view, scenes
):
    Unable.available, Unable.asked = False, 0
    settings = settings_from(
        {
            "describer.backend": f"{__name__}:Unable",
            "describer.describe_again": AGAIN,
            "keyframes.mode": "interval",
        }
    )
    with Analyzer(settings) as analyzer:
        for second in (1, 3):
            assert view.process(frame(second), analyzer, settings, never)
            settled(view)
        scene, _ = view.latest
        assert {region.description.status for region in scene.regions} == {"reused"}
        assert len(scene.regions) > AGAIN
        # The first scene is published as it is swept, and again when it is described.
        graph.until(lambda: [s.complete for s in scenes] == [False, True, True], "both scenes")
        Unable.available = True
        asked = Unable.asked
        for _ in range(4):
            view.update(analyzer, settings)
            settled(view)
        assert Unable.asked - asked == AGAIN
        # No scene was published between the second keyframe and this one.
        assert view.process(frame(5), analyzer, settings, never)
        graph.until(lambda: scenes[-1].header.stamp.sec == 5, "the third scene")
        assert [scene.header.stamp.sec for scene in scenes[:4]] == [1, 1, 3, 5]


def test_an_attempt_that_the_fallback_answered_is_no_attempt(graph, view, monkeypatch):
    """The server is back, and away again when it is asked."""
    monkeypatch.setattr(Unable, "available", False)
    settings = settings_from(
        {
            "describer.backend": f"{__name__}:Unable",
            "describer.describe_again": AGAIN,
            "keyframes.mode": "interval",
        }
    )
    with Analyzer(settings) as analyzer:
        assert view.process(frame(1), analyzer, settings, never)
        settled(view)
        for _ in range(4):
            monkeypatch.setattr(Unable, "available", True)

            def goes_away(image, regions):
                Unable.available = False
                yield from Unable.describe(analyzer.models.describer, image, regions)

            monkeypatch.setattr(analyzer.models.describer, "describe", goes_away, raising=False)
            view.update(analyzer, settings)
            settled(view)
            assert not Unable.available
        monkeypatch.undo()
        monkeypatch.setattr(Unable, "available", True)
        asked = Unable.asked
        view.update(analyzer, settings)
        settled(view)
        assert Unable.asked - asked == AGAIN


def test_a_frame_that_becomes_a_keyframe_during_a_comparison_is_no_newer_view(view, monkeypatch):
    def cut(second):
        other = frame(second)
        other.message.data = bytes(reversed(other.message.data))
        return other

    settings, keyframes = settings_from({}), view.stream.keyframes
    compare = keyframes.change_since_last
    with Analyzer(settings) as analyzer:
        assert view.process(frame(1), analyzer, settings, never)
        # Within min_interval_s of the keyframe, the worker does not look at it.
        assert not view.process(cut(1), analyzer, settings, never)

        def change_since_last(image, settings_):
            change = compare(image, settings_)
            assert view.process(cut(9), analyzer, settings, never)
            return change

        monkeypatch.setattr(keyframes, "change_since_last", change_since_last)
        view.compare_view(settings, at_most_every_s=0)
    assert view.latest[1].reason in NEW_VIEW
    # Of a camera that sends no other frame nothing would correct it.
    assert view.view_changed_s is None


class Mailbox(Latest):
    """Remembers how long the cameras were told to rest."""

    def __init__(self):
        super().__init__()
        self.rests_s = []

    def rest(self, seconds, sender=""):
        self.rests_s.append(seconds)
        super().rest(seconds, sender)


@pytest.mark.parametrize(
    ("name", "cost_s", "rests_s", "previews"),
    [
        ("huge", 60.0, [LOOK_PERIOD_S, 60.0], 0),
        ("usual", 0.0, [LOOK_PERIOD_S], 3),
        # The only one keeps nobody waiting.
        ("", 60.0, [LOOK_PERIOD_S], 0),
    ],
)
def test_a_camera_of_huge_images_leaves_time_to_the_others(
    graph, monkeypatch, name, cost_s, rests_s, previews
):
    pipeline = CameraPipeline(
        name=name,
        publishers=Publishers(graph.node, name),
        warn=pytest.fail,
        inform=lambda message: None,
    )
    frames, computed_s, seen = Mailbox(), itertools.count(0.0, cost_s), []
    pipeline.connect(None, frames)
    monkeypatch.setattr(time, "thread_time", lambda: next(computed_s))
    settings = settings_from({})
    decoder = pipeline.stream.decoder
    decode, preview = decoder.decode, decoder.preview

    def decode_slowly(message):
        frames.put(frame(2), name)
        pipeline.compare_view(settings, at_most_every_s=0.0)
        return decode(message)

    monkeypatch.setattr(decoder, "decode", decode_slowly)
    monkeypatch.setattr(decoder, "preview", lambda each: seen.append(each) or preview(each))
    with Analyzer(settings) as analyzer:
        pipeline.process(frame(1), analyzer, settings, never)
    assert frames.rests_s == rests_s
    # What the worker decodes is not decoded by another thread at the same time.
    assert seen == []
    for second in (2, 3, 4):
        frames.put(frame(second), name)
        pipeline.compare_view(settings, at_most_every_s=0.0)
    assert len(seen) == previews
    pipeline.close()
