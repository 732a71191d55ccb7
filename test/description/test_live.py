"""Live cameras: a scene as soon as it is swept, and descriptions that go into the newest scene."""

import threading
import time

import numpy as np
import pytest

from deep_perception.analyzer import Analyzer, Callbacks
from deep_perception.describers.attributes import Attributes
from deep_perception.description.live import LiveCamera
from deep_perception.description.queue import DescriptionQueue
from deep_perception.regions import Description
from deep_perception.settings.options import settings_from

SECOND = 1_000_000_000
PATIENCE_S = 60.0


def room(*, screen=(30, 160, 30), seed=3):
    """A textured wall with three things on it, one of which is a screen."""
    generator = np.random.default_rng(seed)
    image = np.full((240, 320, 3), (190, 180, 170), np.uint8)
    image[:, :, :] += generator.integers(0, 12, image.shape[:2], dtype=np.uint8)[..., None]
    for x, y, size, color in (
        (20, 30, 70, (30, 30, 200)),
        (200, 30, 90, screen),
        (60, 160, 50, (160, 40, 30)),
    ):
        image[y : y + size, x : x + size] = color
    return image


def street():
    image = np.full((240, 320, 3), (60, 40, 30), np.uint8)
    image[150:, :] = (90, 90, 90)
    image[60:150, 100:260] = (200, 220, 230)
    image[160:200, 30:90] = (20, 200, 220)
    return image


class Gated(Attributes):
    """Answers a question when the test opens the gate for one more."""

    name, instant, concurrent_images = "gated", False, False
    asked, closed, changed, gate = [], 0, threading.Condition(), threading.Semaphore(0)

    def describe(self, image, regions):
        try:
            for region in regions:
                with Gated.changed:
                    Gated.asked.append((int(image[0, 0, 0]), region))
                    number = len(Gated.asked)
                    Gated.changed.notify_all()
                while not Gated.gate.acquire(timeout=0.01):
                    yield None
                yield (
                    region,
                    Description(
                        status="described", label="thing", text=f"No. {number}.", describer="gated"
                    ),
                )
        finally:
            with Gated.changed:
                Gated.closed += 1
                Gated.changed.notify_all()


class Both(Gated):
    """Answers about several images at once."""

    concurrent_images = True


class Broken(Attributes):
    name, instant = "broken", False

    def describe(self, image, regions):
        next(regions)
        raise OSError("no power")
        yield


@pytest.fixture(autouse=True)
def gate():
    Gated.asked, Gated.closed, Gated.gate = [], 0, threading.Semaphore(0)
    yield Gated.gate
    Gated.gate.release(10_000)


class Camera:
    """A live camera, and what it hands over."""

    def __init__(self, analyzer, questions=None, name=""):
        self.analyzer, self.changed = analyzer, threading.Condition()
        self.scenes, self.updates = [], []
        self.live = LiveCamera(
            name=name,
            on_region=lambda region, tag: self._add(self.updates, (tag, region)),
            on_scene=lambda latest: self._add(self.scenes, latest),
        )
        self.questions = questions or DescriptionQueue()
        self.live.connect(self.questions)

    def _add(self, items, item):
        with self.changed:
            items.append(item)
            self.changed.notify_all()

    def show(self, image, second):
        self.live.stream.keyframes.request()
        selected = self.live.stream.select(
            second * SECOND, lambda: image, self.analyzer.settings.keyframes
        )
        self.live.sweep(
            self.analyzer, selected, self.analyzer.settings, Callbacks(), f"frame {second}"
        )
        self.live.finish(self.analyzer, lambda: False)
        return self.scenes[-1].scene

    def until(self, condition):
        with self.changed:
            assert self.changed.wait_for(condition, PATIENCE_S)

    @property
    def latest(self):
        return self.live.latest.scene


def until_asked(condition):
    with Gated.changed:
        assert Gated.changed.wait_for(condition, PATIENCE_S)


@pytest.fixture
def camera():
    with Analyzer(settings_from({"describer.backend": f"{__name__}:Gated"})) as analyzer:
        made = Camera(analyzer)
        yield made
        Gated.gate.release(10_000)
        made.questions.close(PATIENCE_S)


def statuses(scene):
    return {region.description.status for region in scene.regions}


def test_a_scene_is_handed_over_as_soon_as_it_is_swept_and_again_when_it_is_described(camera, gate):
    first = camera.show(room(), 1)
    assert statuses(first) == {"pending"}
    assert len(first.regions) > 3
    assert not camera.updates
    gate.release(len(first.regions))
    camera.until(lambda: camera.scenes[-1].scene.complete)
    assert statuses(camera.latest) == {"described"}
    areas = [region.area for _, region in camera.updates]
    assert areas == sorted(areas, reverse=True)
    assert camera.scenes[-1].scene.timings.total_s >= camera.scenes[-1].scene.timings.describe_s > 0


def test_a_question_on_its_way_is_not_asked_again_and_its_answer_goes_into_the_newest_scene(
    camera, gate
):
    camera.show(room(), 1)
    until_asked(lambda: len(Gated.asked) == 1)
    second = camera.show(room(seed=4), 2)
    track = Gated.asked[0][1].track_id
    assert track in {region.track_id for region in second.regions}
    gate.release()
    camera.until(lambda: camera.updates)
    tag, answered = camera.updates[0]
    assert (tag, answered.track_id) == ("frame 2", track)
    assert answered.last_described_ns == SECOND  # it was written from the first image
    gate.release(10_000)
    camera.until(lambda: camera.scenes[-1].scene.complete)
    tracks = [region.track_id for _, region in Gated.asked]
    assert len(tracks) == len(set(tracks)) == len(second.regions)


def test_what_has_left_the_view_is_dropped_and_the_new_view_is_asked_about_next(camera, gate):
    camera.show(room(), 1)
    until_asked(lambda: len(Gated.asked) == 1)
    new = camera.show(street(), 2)
    until_asked(lambda: Gated.closed == 1 and len(Gated.asked) == 2)
    color, region = Gated.asked[1]
    assert color == street()[0, 0, 0]
    assert region.area == max(each.area for each in new.regions)
    gate.release(10_000)
    camera.until(lambda: camera.scenes[-1].scene.complete)
    assert {tag for tag, _ in camera.updates} == {"frame 2"}


def test_an_answer_about_content_that_was_replaced_is_dropped(camera, gate):
    """The screen shows something else in the same place."""
    camera.show(room(), 1)
    screen = next(r for r in camera.latest.regions if r.mask[75, 245] and r.area < 10_000)
    until_asked(lambda: Gated.asked)
    while Gated.asked[-1][1].track_id != screen.track_id:
        count = len(Gated.asked)
        gate.release()
        until_asked(lambda count=count: len(Gated.asked) > count)
    camera.show(room(screen=(30, 30, 40)), 2)
    gate.release(10_000)
    camera.until(lambda: camera.scenes[-1].scene.complete)
    shown = next(r for r in camera.latest.regions if r.mask[75, 245] and r.area < 10_000)
    assert shown.last_described_ns == 2 * SECOND


def test_an_instant_describer_is_waited_for():
    with Analyzer() as analyzer:
        camera = Camera(analyzer)
        scene = camera.show(room(), 1)
        assert len(camera.scenes) == 1
        assert scene.complete
        assert statuses(scene) == {"described"}
        assert len(camera.updates) == len(scene.regions)


def test_an_exception_of_the_describer_is_the_error_of_each_region():
    with Analyzer(settings_from({"describer.backend": f"{__name__}:Broken"})) as analyzer:
        camera = Camera(analyzer)
        camera.show(room(), 1)
        camera.until(lambda: camera.scenes[-1].scene.complete)
    assert {r.description.error for r in camera.latest.regions} == {"OSError: no power"}


def test_cameras_take_turns_with_a_describer_of_one_image_at_a_time(camera, gate, monkeypatch):
    monkeypatch.setattr("deep_perception.description.queue.TURN_S", 0.0)
    other = Camera(camera.analyzer, camera.questions, "other")
    camera.show(room(), 1)
    other.show(street(), 1)
    gate.release(10_000)
    for each in (camera, other):
        each.until(lambda each=each: each.scenes[-1].scene.complete)
    colors = [color for color, _ in Gated.asked]
    assert colors[:2] == [room()[0, 0, 0], street()[0, 0, 0]]


def test_a_new_view_does_not_wait_for_answers_about_the_one_before(gate):
    """Part of the view is the same, so what was asked about it is still wanted."""
    with Analyzer(settings_from({"describer.backend": f"{__name__}:Both"})) as analyzer:
        camera = Camera(analyzer)
        camera.show(room(), 1)
        until_asked(lambda: len(Gated.asked) == 1)
        changed = room(screen=(30, 30, 40))
        changed[0, 0] = 1
        camera.show(changed, 2)
        until_asked(lambda: len(Gated.asked) == 2)
        assert [color == 1 for color, _ in Gated.asked] == [False, True]
        assert Gated.closed == 0
        gate.release(10_000)
        camera.until(lambda: camera.scenes[-1].scene.complete)
        camera.questions.close(PATIENCE_S)


def test_questions_are_dropped_when_the_queue_is_closed(camera):
    camera.show(room(), 1)
    until_asked(lambda: Gated.asked)
    camera.questions.close(PATIENCE_S)
    assert Gated.closed == 1
    assert not camera.questions.is_busy()
    assert statuses(camera.latest) == {"pending"}


def test_a_paused_camera_asks_again_when_it_is_updated(camera, gate):
    camera.show(room(), 1)
    until_asked(lambda: Gated.asked)
    camera.live.pause()
    until_asked(lambda: Gated.closed == 1)
    gate.release(10_000)
    ends_s = time.monotonic() + PATIENCE_S
    while not camera.latest.complete and time.monotonic() < ends_s:
        camera.live.update(camera.analyzer)
    assert camera.latest.complete


def test_how_long_the_describer_is_silent_is_known(camera, gate):
    assert camera.live.unanswered_s == 0
    camera.show(room(), 1)
    until_asked(lambda: Gated.asked)
    assert camera.live.unanswered_s > 0
    gate.release(10_000)
    camera.until(lambda: camera.scenes[-1].scene.complete)
    assert camera.live.unanswered_s == 0
