"""Parameters of a running node: a set is taken whole or not at all, and takes effect."""

import time

import numpy as np
import pytest
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.srv import DescribeParameters, GetParameters
from sensor_msgs.msg import CompressedImage, Image

from deep_perception.settings.options import options
from deep_perception_msgs.msg import DescribedRegion, DescribedRegionArray
from support.graph import LASTING, LATCHED, UNWATCHED, Diagnostics

pytestmark = pytest.mark.ros

NODE = "/set/analyzer"


def camera_image():
    image = np.full((120, 160, 3), (190, 190, 190), np.uint8)
    image[20:60, 20:80] = (30, 30, 200)
    image[70:110, 90:150] = (30, 160, 30)
    return image


@pytest.fixture(scope="module")
def node(start_module_node):
    return start_module_node(
        remaps=["__ns:=/set"],
        **LASTING,
        **UNWATCHED,
        **{"ros.diagnostics_period_s": 0.1},
    )


@pytest.fixture(scope="module")
def scenes(graph, node):
    return graph.listen(DescribedRegionArray, f"{NODE}/regions", LATCHED)


@pytest.fixture(scope="module")
def camera(graph, node):
    return graph.publisher(Image, "/set/image")


@pytest.fixture(scope="module")
def values(graph, node):
    """The value of every setting, as the node has it now."""
    names = [option.name for option in options()]

    def get():
        request = GetParameters.Request(names=names)
        return graph.call(GetParameters, f"{NODE}/get_parameters", request).values

    return get


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (("sweep.overlap", "clip"), "'clip' is not allowed; expected one of allow, trim, skip"),
        (("points.grid_rows", 0), "points.grid_rows"),
        (("keyframes.min_interval_s", "soon"), "Wrong parameter type"),
        (("keyframes.max_interval_s", float("nan")), "keyframes.max_interval_s"),
        (("segmenter.backend", "sam2"), "segmenter.backend"),
    ],
)
@pytest.mark.parametrize("first", [False, True])
def test_a_set_with_one_bad_value_is_refused_as_a_whole(graph, node, values, bad, reason, first):
    before = values()
    good = [("sweep.max_regions", 3), ("ros.enabled", False)]
    result = graph.set_parameters(NODE, [bad, *good] if first else [*good, bad])
    assert not result.successful
    assert reason in result.reason
    assert str(values()) == str(before)
    assert node.is_running


def test_every_setting_is_a_parameter_with_its_range(graph, node):
    names = [option.name for option in options()]
    request = DescribeParameters.Request(names=names)
    described = graph.call(DescribeParameters, f"{NODE}/describe_parameters", request)
    values = graph.call(
        GetParameters, f"{NODE}/get_parameters", GetParameters.Request(names=names)
    ).values
    assert len(described.descriptors) == len(values) == len(names)
    for option, descriptor in zip(options(), described.descriptors, strict=True):
        assert option.help in descriptor.description
        assert descriptor.read_only == option.trusted
        ranges = [*descriptor.integer_range, *descriptor.floating_point_range]
        assert bool(ranges) == (option.at_least is not None or option.at_most is not None)
        if ranges and option.at_least is not None:
            given = {"ros.diagnostics_period_s": 0.1}.get(option.name, option.live_at_least)
            assert ranges[0].from_value == given


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        # outside of its range, not a choice, fixed while configured, trusted
        ("points.grid_rows", 0, "points.grid_rows"),
        ("sweep.overlap", "clip", "expected one of allow, trim, skip"),
        ("segmenter.image_size", 512, "segmenter.image_size is fixed while the node is configured"),
        ("segmenter.backend", "sam2", "segmenter.backend is trusted: no service can change it"),
        ("ros.cameras", "front", "`-p ros.cameras:=VALUE`, or with the value in its params file"),
    ],
)
def test_a_parameter_that_is_not_allowed_is_refused(graph, node, name, value, reason):
    result = graph.set_parameter(NODE, name, value)
    assert not result.successful
    assert reason in result.reason


def test_a_good_set_is_taken_as_a_whole_and_has_its_effect(graph, scenes, camera):
    default = graph.analysed(camera, scenes, graph.image(camera_image()))
    assert len(default.regions) > 2
    changes = [("points.sources", "grid"), ("sweep.max_regions", 2)]
    assert graph.set_parameters(NODE, changes).successful
    try:
        scene = graph.analysed(camera, scenes, graph.image(camera_image()))
        assert {region.source for region in scene.regions} == {"grid"}
        assert len(scene.regions) == 2
    finally:
        undo = [("points.sources", "contours+grid"), ("sweep.max_regions", 0)]
        assert graph.set_parameters(NODE, undo).successful


def test_of_the_reuse_of_descriptions(graph, scenes, camera):
    def statuses():
        scene = graph.analysed(camera, scenes, graph.image(camera_image()))
        return {region.status for region in scene.regions}

    statuses()
    assert statuses() == {DescribedRegion.STATUS_REUSED}
    assert graph.set_parameter(NODE, "identity.words_ttl_s", 0.0).successful
    assert statuses() == {DescribedRegion.STATUS_DESCRIBED}
    assert graph.set_parameter(NODE, "identity.words_ttl_s", 600.0).successful
    statuses()
    assert statuses() == {DescribedRegion.STATUS_REUSED}


def test_of_keyframes(graph, scenes, camera):
    """An unchanged view some seconds later is no keyframe, until the mode makes it one."""
    diagnostics = Diagnostics(graph, NODE)
    sent = graph.image(camera_image())
    graph.analysed(camera, scenes, sent)

    stamps = iter(range(sent.header.stamp.sec + 2, sent.header.stamp.sec + 29))

    published = []

    def later():
        message = graph.image(camera_image())
        message.header.stamp.sec = next(stamps)
        published.append(message.header.stamp.sec)
        return message

    def analysed():
        return [scene for scene in scenes if scene.header.stamp.sec in published]

    diagnostics.wait_for_new()
    left_alone = diagnostics.count("between_keyframes")
    for number in range(1, 6):
        graph.publish_until(
            camera,
            later,
            lambda number=number: diagnostics.count("between_keyframes") >= left_alone + number,
            "a frame that is left alone",
            period_s=3.0,
        )
    assert analysed() == []
    assert graph.set_parameter(NODE, "keyframes.mode", "interval").successful
    graph.publish_until(camera, later, analysed, "the keyframe", period_s=3.0)
    assert analysed()[0].reason == "heartbeat"
    assert graph.set_parameter(NODE, "keyframes.mode", "content").successful


def test_of_outputs(graph, camera):
    images = graph.listen(CompressedImage, f"{NODE}/annotated/compressed")
    sizes = []
    for quality in (90, 5):
        assert graph.set_parameter(NODE, "output.jpeg_quality", quality).successful
        jpeg = graph.analysed(camera, images, graph.image(camera_image()))
        sizes.append(len(jpeg.data))
    assert sizes[1] < 0.8 * sizes[0]


def test_of_the_watch_over_the_input(graph, node):
    diagnostics = Diagnostics(graph, NODE)
    graph.until(lambda: diagnostics.last(), "the diagnostics")
    assert not diagnostics.reports("no image")
    assert graph.set_parameter(NODE, "ros.input_timeout_s", 0.5).successful
    graph.until(lambda: diagnostics.reports("no image for 0.5 s"), "the new timeout")


def test_of_the_diagnostics(graph, node):
    diagnostics = Diagnostics(graph, NODE)
    assert graph.set_parameter(NODE, "ros.diagnostics_period_s", 60.0).successful
    changed_s = time.time()
    # Of the time of ten periods nothing can be seen but that no message is of it.
    graph.spin(1.0)
    waited_s = time.time()
    assert graph.set_parameter(NODE, "ros.diagnostics_period_s", 0.1).successful
    diagnostics.wait_for_new(4)
    stamps = [array.header.stamp for array in diagnostics.arrays()]
    stamps_s = [stamp.sec + stamp.nanosec / 1e9 for stamp in stamps]
    assert not [stamp_s for stamp_s in stamps_s if changed_s < stamp_s < waited_s]


# A segmenter that says which settings it was loaded with.
BACKEND = """
from deep_perception.segmenters.superpixels import Superpixels

class Sized(Superpixels):
    def __init__(self, settings):
        super().__init__()
        self.model = str(settings.segmenter.image_size)
"""


def test_what_is_loaded_can_be_changed_while_the_node_is_unconfigured(graph, start_node, tmp_path):
    (tmp_path / "sized_backend.py").write_text(BACKEND)
    name = "/reload/analyzer"
    start_node(
        remaps=["__ns:=/reload"],
        python_path=str(tmp_path),
        **UNWATCHED,
        **{"segmenter.backend": "sized_backend:Sized"},
    )

    def change(transition):
        request = ChangeState.Request(transition=Transition(id=transition))
        return graph.call(ChangeState, f"{name}/change_state", request).success

    refused = graph.set_parameter(name, "segmenter.image_size", 512)
    assert not refused.successful
    assert "ros2 lifecycle set /reload/analyzer cleanup" in refused.reason
    assert change(Transition.TRANSITION_DEACTIVATE)
    assert not graph.set_parameter(name, "segmenter.image_size", 512).successful
    assert change(Transition.TRANSITION_CLEANUP)
    assert graph.set_parameter(name, "segmenter.image_size", 512).successful
    assert change(Transition.TRANSITION_CONFIGURE)
    assert change(Transition.TRANSITION_ACTIVATE)
    scenes = graph.listen(DescribedRegionArray, f"{name}/regions", LATCHED)
    camera = graph.publisher(Image, "/reload/image")
    scene = graph.analysed(camera, scenes, graph.image(camera_image()))
    assert scene.segmenter_model == "512"
