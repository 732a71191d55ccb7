"""The managed node: every change of state, at bad moments too, and its report when one fails."""

import time

import numpy as np
import pytest
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from sensor_msgs.msg import Image

from deep_perception_msgs.msg import DescribedRegion, DescribedRegionArray
from deep_perception_msgs.srv import GetScene
from support.graph import LATCHED, UNWATCHED, Diagnostics

pytestmark = pytest.mark.ros

CONFIGURE, CLEANUP = Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_CLEANUP
ACTIVATE, DEACTIVATE = Transition.TRANSITION_ACTIVATE, Transition.TRANSITION_DEACTIVATE
SHUTDOWN = Transition.TRANSITION_ACTIVE_SHUTDOWN
UNCONFIGURED, INACTIVE = State.PRIMARY_STATE_UNCONFIGURED, State.PRIMARY_STATE_INACTIVE
ACTIVE, FINALIZED = State.PRIMARY_STATE_ACTIVE, State.PRIMARY_STATE_FINALIZED

# The description of a region takes 1 s, that of a frame some seconds; a file of the model can be
# missing.
BACKENDS = """
import time
from pathlib import Path
from deep_perception.backends import BackendUnavailable
from deep_perception.describers.attributes import Attributes
from deep_perception.segmenters.superpixels import Superpixels

HERE = Path(__file__).parent

class Slow(Attributes):
    def describe(self, image, regions):
        for found in super().describe(image, regions):
            time.sleep(1.0)
            yield found

class Remote(Attributes):
    @property
    def loading(self):
        with (HERE / "asked").open("a") as log:
            log.write("asked\\n")
        return (HERE / "loading").exists()

class Model(Superpixels):
    def __init__(self):
        if not (HERE / "model").exists():
            raise BackendUnavailable("the model's file is missing: get it")
        with (HERE / "loads").open("a") as log:
            log.write("loaded\\n")
        super().__init__()

    def close(self):
        with (HERE / "loads").open("a") as log:
            log.write("freed\\n")
"""


def camera_image():
    image = np.full((240, 320, 3), (190, 190, 190), np.uint8)
    image[40:150, 60:180] = (30, 30, 200)
    image[170:220, 200:300] = (30, 160, 30)
    return image


class Managed:
    """A node by its services."""

    def __init__(self, graph, name):
        self.graph, self.name = graph, name
        self.change_service = f"{name}/change_state"
        graph.prepare(ChangeState, self.change_service)

    @property
    def state(self):
        return self.graph.call(
            GetState, f"{self.name}/get_state", GetState.Request()
        ).current_state.id

    def change(self, transition):
        request = ChangeState.Request(transition=Transition(id=transition))
        return self.graph.call(ChangeState, self.change_service, request, again=False).success

    def timed(self, transition):
        """Change the state; the seconds that it took."""
        started = time.monotonic()
        assert self.change(transition)
        return time.monotonic() - started


@pytest.fixture
def backends(tmp_path):
    (tmp_path / "lifecycle_backends.py").write_text(BACKENDS)
    (tmp_path / "model").touch()
    return tmp_path


def start(start_node, backends, name, **parameters):
    return start_node(
        remaps=[f"__ns:=/{name}"],
        python_path=str(backends),
        **{"segmenter.backend": "lifecycle_backends:Model", "segmenter.fallback": "''"},
        **{**UNWATCHED, "ros.diagnostics_period_s": 0.1, **parameters},
    )


def lines(path):
    return path.read_text().split() if path.exists() else []


def loads(backends):
    return lines(backends / "loads")


def test_by_hand_through_all_states_and_again(graph, start_node, backends):
    node = start(start_node, backends, "states", **{"ros.autostart": False})
    managed = Managed(graph, "/states/analyzer")
    assert managed.state == UNCONFIGURED
    assert loads(backends) == []
    answer = graph.call(GetScene, "/states/analyzer/get_scene", GetScene.Request())
    assert not answer.success
    assert answer.message == "the node is not configured"
    camera = graph.publisher(Image, "/states/image", matched=False)
    for round_ in (1, 2):
        assert managed.change(CONFIGURE)
        assert managed.state == INACTIVE
        assert loads(backends)[-1] == "loaded"
        assert camera.get_subscription_count() == 0
        scenes = graph.listen(DescribedRegionArray, "/states/analyzer/regions", LATCHED)
        assert managed.change(ACTIVATE)
        assert managed.state == ACTIVE
        graph.until(camera.get_subscription_count, "the subscription")
        scene = graph.analysed(camera, scenes, graph.image(camera_image()))
        assert scene.regions
        assert managed.change(DEACTIVATE)
        assert managed.state == INACTIVE
        graph.until(lambda: camera.get_subscription_count() == 0, "the end of the subscription")
        # What was seen last is still known.
        answer = graph.call(GetScene, "/states/analyzer/get_scene", GetScene.Request())
        assert answer.success
        assert answer.scene.header == scene.header
        assert managed.change(CLEANUP)
        assert managed.state == UNCONFIGURED
        assert loads(backends) == ["loaded", "freed"] * round_
    assert node.stop() == 0
    assert "Traceback" not in node.log


def test_a_change_that_does_not_fit_is_refused_and_survived(graph, start_node, backends):
    node = start(start_node, backends, "wrong")
    managed = Managed(graph, "/wrong/analyzer")
    graph.until(lambda: managed.state == ACTIVE, "the start")
    assert not managed.change(CONFIGURE)
    assert not managed.change(ACTIVATE)
    assert not managed.change(99)
    assert managed.state == ACTIVE
    assert node.is_running


def test_a_missing_model_leaves_the_node_unconfigured_with_the_reason(graph, start_node, backends):
    (backends / "model").unlink()
    node = start(start_node, backends, "missing")
    diagnostics = Diagnostics(graph, "/missing/analyzer")
    managed = Managed(graph, "/missing/analyzer")
    assert managed.state == UNCONFIGURED
    reason = "the model's file is missing: get it"
    graph.until(lambda: diagnostics.reports(reason, "state"), "the reason in the diagnostics")
    assert diagnostics.last("state").level == b"\x02"
    assert diagnostics.last("state").name == "missing/analyzer: state"
    answer = graph.call(GetScene, "/missing/analyzer/get_scene", GetScene.Request())
    assert reason in answer.message
    assert node.log.count(reason) == 1
    (backends / "model").touch()
    assert managed.change(CONFIGURE)
    assert managed.change(ACTIVATE)
    assert managed.state == ACTIVE
    assert node.stop() == 0
    assert "Traceback" not in node.log


@pytest.mark.slow
@pytest.mark.parametrize("again", [False, True])
def test_a_change_of_state_in_the_middle_of_a_frame(graph, start_node, backends, again):
    """A change of state does not wait for the descriptions, each of which takes a second."""
    name = f"busy{int(again)}"
    node = start(start_node, backends, name, **{"describer.backend": "lifecycle_backends:Slow"})
    managed = Managed(graph, f"/{name}/analyzer")
    updates = graph.listen(DescribedRegion, f"/{name}/analyzer/region_updates")
    camera = graph.publisher(Image, f"/{name}/image")

    def wait_for_descriptions():
        updates.clear()
        graph.publish_until(
            camera, lambda: graph.image(camera_image()), lambda: updates, "the first descriptions"
        )

    wait_for_descriptions()
    assert managed.timed(DEACTIVATE) < 4  # 2 s, and as much for a loaded machine
    if again:
        assert managed.change(ACTIVATE)
        graph.until(camera.get_subscription_count, "the subscription")
        wait_for_descriptions()
        assert managed.timed(SHUTDOWN) < 4
        assert managed.state == FINALIZED
    else:
        assert managed.change(CLEANUP)
        assert managed.state == UNCONFIGURED
    graph.until(lambda: loads(backends) == ["loaded", "freed"], "the end of the models")
    assert node.stop() == 0
    assert "Traceback" not in node.log


def test_models_are_unloaded_without_work_and_loaded_again(graph, start_node, backends):
    start(start_node, backends, "idle", **{"models.idle_unload_s": 1.0})
    scenes = graph.listen(DescribedRegionArray, "/idle/analyzer/regions", LATCHED)
    diagnostics = Diagnostics(graph, "/idle/analyzer")
    camera = graph.publisher(Image, "/idle/image")
    graph.analysed(camera, scenes, graph.image(camera_image()))
    graph.until(lambda: loads(backends)[-1] == "freed", "the unloading")
    before = loads(backends).count("loaded")
    # An unchanged view does not load them, however often it comes; another view does.
    left_alone = diagnostics.count("between_keyframes")
    graph.publish_until(
        camera,
        lambda: graph.image(camera_image()),
        lambda: diagnostics.count("between_keyframes") >= left_alone + 3,
        "three frames of the same view",
    )
    assert loads(backends).count("loaded") == before
    graph.analysed(camera, scenes, graph.image(camera_image()[:, ::-1]))
    assert loads(backends).count("loaded") == before + 1


@pytest.mark.slow
def test_a_model_that_a_server_is_loading_is_not_given_up_for_idle(graph, start_node, backends):
    (backends / "loading").touch()
    start(
        start_node, backends, "remote",
        **{"models.idle_unload_s": 0.5, "describer.backend": "lifecycle_backends:Remote"},
    )  # fmt: skip
    scenes = graph.listen(DescribedRegionArray, "/remote/analyzer/regions", LATCHED)
    camera = graph.publisher(Image, "/remote/image")
    graph.analysed(camera, scenes, graph.image(camera_image()))
    # The node asks at most once a second, after each look at whether there is work.
    asked = len(lines(backends / "asked"))
    graph.until(lambda: len(lines(backends / "asked")) >= asked + 3, "idle seconds")
    assert loads(backends) == ["loaded"]
    (backends / "loading").unlink()
    graph.until(lambda: loads(backends)[-1] == "freed", "the unloading")
