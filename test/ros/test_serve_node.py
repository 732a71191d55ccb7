"""The whole node with descriptions by a real `transformers serve`, over DDS."""

import time
from collections import Counter
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import Image

from deep_perception import images
from deep_perception.analyzer import Analyzer
from deep_perception.settings.options import settings_from
from deep_perception_msgs.msg import DescribedRegion, DescribedRegionArray
from support.tiny_vision_model import WORDS, save
from support.transformers_server import TransformersServer

# Not marked ros: it needs torch beside ROS, which only `make test-sam2` has.
pytestmark = pytest.mark.serve

PHOTOGRAPH = images.load(Path(__file__).parents[1] / "data" / "coffee.jpg")
# The server answers one region after the other, up to twice each.
PATIENCE_S = 180.0
# Between two frames of the camera.
PERIOD_S = 2.0


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("serve")
    save(folder / "tiny-llava")
    server = TransformersServer(folder / "tiny-llava", folder / "server.txt")
    server.start()
    yield server
    server.kill()


class Robot:
    """A camera that sees one photograph, and what the node publishes about it."""

    def __init__(self, graph, namespace):
        from support.graph import LATCHED

        self.graph = graph
        self.updates = graph.listen(DescribedRegion, f"{namespace}/analyzer/region_updates", 500)
        self.scenes = graph.listen(DescribedRegionArray, f"{namespace}/analyzer/regions", LATCHED)
        self.diagnostics = graph.listen(DiagnosticArray, "/diagnostics", 50)
        self.camera = graph.publisher(Image, f"{namespace}/image")

    def sees(self, wanted, what):
        """Publish the photograph again and again until a scene from now on is as wanted.

        The next one waits for the descriptions of the one before: they are not reused here, and a
        slow server would never come to their end.
        """
        before, due_s = len(self.scenes), 0.0

        def find():
            new = self.scenes[before:]
            return next((scene for scene in reversed(new) if wanted(scene)), None)

        def seen():
            nonlocal due_s
            found = find()
            is_described = not self.scenes or all(
                region.status != "pending" for region in self.scenes[-1].regions
            )
            if not found and is_described and time.monotonic() >= due_s:
                self.camera.publish(self.graph.image(PHOTOGRAPH))
                due_s = time.monotonic() + PERIOD_S
            return found

        return self.graph.until(seen, lambda: f"{what}; {self.seen()}", PATIENCE_S)

    def seen(self):
        describers = [Counter(r.describer for r in s.regions) for s in self.scenes[-3:]]
        return f"the last scenes: {describers}; diagnostics: {self.analysis()}"

    def analysis(self):
        """Level and message of the newest diagnostics of the analysis."""
        for array in reversed(self.diagnostics):
            for status in array.status:
                if status.name.endswith("analyzer: analysis"):
                    return status.level, status.message
        return None


def describers(scene):
    return {region.describer for region in scene.regions}


def by_chat(scene):
    return bool(scene.regions) and describers(scene) == {"chat"}


def by_fallback(scene):
    return bool(scene.regions) and describers(scene) == {"attributes"}


def check_words(scene, robot, model):
    """Each region occurs once, with the model's own words or with a reason why there are none."""
    assert [region.index for region in scene.regions] == list(range(1, len(scene.regions) + 1))

    def updates():
        return Counter(u.index for u in robot.updates if u.header == scene.header)

    # Topics have no common order: an update may arrive after the scene.
    robot.graph.until(lambda: updates() == {r.index: 1 for r in scene.regions}, "the updates")
    for region in scene.regions:
        assert region.describer == "chat"
        assert region.area > 0
        if region.status == "described":
            assert region.model == f"{model}@main"  # as the server names it, with its revision
            words = region.description.replace("…", "").split()
            assert words and set(words) <= set(WORDS)
            assert region.label and set(region.label.replace("…", "").split()) <= set(WORDS)
            assert region.error == ""
        else:
            assert region.status == "failed"
            assert (region.label, region.description) == ("", "")
            reasons = ("the answer repeats itself", "the answer is empty", "the answer breaks off")
            assert region.error.startswith(reasons)


def test_descriptions_of_a_server_that_dies_and_comes_back(graph, start_node, server):
    node = start_node(
        remaps=["__ns:=/serve"],
        **{
            "describer.backend": "chat",
            "describer.url": server.url,
            "describer.model": server.model,
            "describer.temperature": 1.0,
            "describer.max_tokens": 16,
            "sweep.max_regions": 10,
            # Every frame is described afresh.
            "keyframes.mode": "interval",
            "identity.words_ttl_s": 0.0,
            "describer.cache_size": 0,
            "ros.diagnostics_period_s": 0.2,
        },
    )
    robot = Robot(graph, "/serve")

    scene = robot.sees(by_chat, "descriptions of the server")
    assert list(scene.warnings) == []
    assert len(scene.regions) == 10
    check_words(scene, robot, server.model)
    assert "described" in {region.status for region in scene.regions}

    server.kill()
    scene = robot.sees(by_fallback, "descriptions of the fallback")
    assert {region.status for region in scene.regions} == {"described"}
    assert len(scene.regions) == 10
    (warning,) = scene.warnings
    assert f"chat server {server.url}: no connection" in warning
    assert warning.endswith("'attributes' is used instead")
    # Until then the diagnostics tell of regions that the server's random model failed to describe.
    graph.until(lambda: (found := robot.analysis()) and found[1] == warning, robot.seen)

    server.make_cache()
    server.start()
    scene = robot.sees(
        lambda scene: by_chat(scene) and not scene.warnings, "descriptions of the server again"
    )
    check_words(scene, robot, server.model)
    assert list(scene.warnings) == []
    # Some answers of a random model are no descriptions, which is another warning.
    graph.until(lambda: "is used instead" not in robot.analysis()[1], robot.seen)

    assert node.stop() == 0
    assert "Traceback" not in node.log


@pytest.mark.parametrize(("model", "advice"), [("another", "pinned to"), ("", "load one")])
def test_what_is_to_be_done_when_the_server_has_another_model(server, model, advice):
    settings = {"describer.backend": "chat", "describer.url": server.url, "describer.model": model}
    with Analyzer(settings_from({**settings, "sweep.max_regions": 3})) as analyzer:
        scene = analyzer.analyze(PHOTOGRAPH)
    assert {region.description.describer for region in scene.regions} == {"attributes"}
    (warning,) = scene.warnings
    assert advice in warning
    assert "'attributes' is used instead" in warning
