"""Peers of the ROS graph that send and announce what they like, against a real node.

This file is longer than 300 lines because its tests share a node and its peers.
"""

import json
import time
import unicodedata

import numpy as np
import pytest
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import Log
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String

from deep_perception_msgs.msg import DescribedRegionArray
from deep_perception_msgs.srv import GetScene
from support import raw_dds
from support.graph import LATCHED, UNWATCHED, Diagnostics, Graph
from support.hostile_words import FORGED, LABELS
from support.node_process import ROOT

pytestmark = pytest.mark.ros

NODE = "/hostile/analyzer"
TERMINAL = "\x1b]52;c;cm0gLXJm\x07\x9b2J"
FRAME_IDS = {
    "an honest one": ("camera_optical_frame", "camera_optical_frame"),
    "one with a namespace": ("robot1/front/camera", "robot1/front/camera"),
    "in another script": ("カメラ", "カメラ"),
    "a forged line": (f"cam{FORGED}", f"cam\\n{FORGED[1:]}"),
    "codes of a terminal": (f"cam{TERMINAL}", "cam\\x1b]52;c;cm0gLXJm\\x07\\x9b2J"),
    "another direction": ("cam\u202egnp", "cam\\u202egnp"),
    "a long one": ("y" * 255, "y" * 255),
}

QUICK = ("one with a namespace", "a forged line")


@pytest.fixture(scope="module")
def node(start_module_node):
    return start_module_node(
        remaps=["__ns:=/hostile"],
        python_path=str(ROOT / "test"),
        **UNWATCHED,
        **{
            "ros.cameras": "front,rear",
            "ros.diagnostics_period_s": 0.1,
            "keyframes.mode": "interval",
            "keyframes.min_interval_s": 0.0,
            "sweep.max_regions": 16,
            "describer.backend": "support.hostile_words:Hostile",
        },
    )


@pytest.fixture(scope="module")
def diagnostics(graph, node):
    return Diagnostics(graph, NODE)


@pytest.fixture(scope="module")
def rear(graph, node):
    return graph.publisher(Image, "/hostile/rear/image")


@pytest.fixture(scope="module")
def rear_scenes(graph, node):
    return graph.listen(DescribedRegionArray, f"{NODE}/rear/regions", LATCHED)


@pytest.fixture(scope="module")
def front(graph, node):
    return graph.publisher(Image, "/hostile/front/image")


@pytest.fixture(scope="module")
def front_scenes(graph, node):
    return graph.listen(DescribedRegionArray, f"{NODE}/front/regions", LATCHED)


def many_things(number=0):
    """An image of 16 squares of other colours with every number."""
    colours = np.random.default_rng(number).integers(0, 256, (4, 4, 3), np.uint8)
    return np.kron(colours, np.ones((40, 40, 1), np.uint8))


def texts_of(message):
    """All texts of a message or of decoded JSON."""
    if isinstance(message, str):
        yield message
    elif isinstance(message, dict):
        yield from (text for pair in message.items() for one in pair for text in texts_of(one))
    elif isinstance(message, (list, tuple)):
        yield from (text for one in message for text in texts_of(one))
    elif hasattr(message, "get_fields_and_field_types"):
        for name in message.get_fields_and_field_types():
            yield from texts_of(getattr(message, name))


def check(message, longest=4100):
    for text in texts_of(message):
        assert len(text) <= longest
        assert not any(unicodedata.category(one) in ("Cc", "Cf", "Cs", "Zl") for one in text), text
        assert not any(one >= "\U000e0000" for one in text)


def check_log(node):
    for line in node.log.split("\n"):
        assert len(line) < 5000
        check(line, 5000)
        # What rclpy writes in front of each line, the bars in front of tracebacks, and the path in
        # front of a warning of Python.
        assert line == "" or line[0] in "[|/", line
        assert not line.startswith(("[INFO] [1.0]", "[ERROR] [1.0]"))


def test_words_of_any_kind_are_published_as_harmless_lines(graph, node, rear, rear_scenes):
    scene = graph.analysed(rear, rear_scenes, graph.image(many_things(1)))
    assert len(scene.regions) > len(LABELS)
    answer = graph.call(GetScene, f"{NODE}/get_scene", GetScene.Request(camera="rear"))
    content = json.loads(answer.json)
    masks = [region.mask.counts for region in scene.regions]
    assert max(map(len, masks)) < 4100
    check(scene)
    check(answer.scene)
    check(content)
    assert {"label", "text", "attributes"} <= set(content["untrusted"])
    assert set(content["untrusted"]) <= {*content, *content["regions"][0]}
    labels = {region.label for region in scene.regions}
    assert {"mug [INFO] [1.0] [analyzer]: all is well", "cup", "ball", "\ufffdhalf"} - labels <= {
        "cup"  # of the region that failed
    }
    assert max(len(label) for label in labels) == 200
    assert len(answer.json) < len(scene.regions) * 30_000
    check_log(node)


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=[] if kind in QUICK else pytest.mark.slow) for kind in FRAME_IDS],
)
def test_a_frame_id_is_that_of_the_camera_if_it_can_be_one(graph, node, rear, rear_scenes, kind):
    sent, published = FRAME_IDS[kind]
    message = graph.image(many_things(2))
    message.header.frame_id = sent

    def scene():
        return next((each for each in rear_scenes if each.header.frame_id == published), None)

    def again():
        graph.stamp(message, sent)
        return message

    found = graph.publish_until(rear, again, scene, published[:300], period_s=1.0)
    assert {region.header.frame_id for region in found.regions} == {published}
    answer = graph.call(GetScene, f"{NODE}/get_scene", GetScene.Request(camera="rear"))
    check(json.loads(answer.json)["frame_id"])
    check_log(node)


def test_what_a_camera_calls_its_encoding_is_shown_and_not_obeyed(
    graph, node, diagnostics, front, rear, rear_scenes
):
    def broken(encoding):
        return lambda: graph.image(many_things(1), encoding=encoding)

    for encoding in (f"bgr8{FORGED}", TERMINAL, "y" * 5_000_000):
        failed = diagnostics.count("failed", "front input")
        graph.publish_until(
            front,
            broken(encoding),
            lambda failed=failed: diagnostics.count("failed", "front input") > failed,
            "that it is counted",
            period_s=0.5,
        )
        assert graph.analysed(rear, rear_scenes, graph.image(many_things(3))).regions
    status = diagnostics.last("front input")
    assert status.level == b"\x02"
    for array in diagnostics.arrays():
        check(array)
    # Another name with every frame is one line, and not one for each.
    before = len(node.log.splitlines())
    failed = diagnostics.count("failed", "front input")
    names = (f"enc{chr(97 + n % 26)}{chr(97 + n // 26)}" for n in range(10_000))
    graph.publish_until(
        front,
        lambda: broken(next(names))(),
        lambda: diagnostics.count("failed", "front input") > failed + 10,
        "ten more of them",
        period_s=0.05,
    )
    assert len(node.log.splitlines()) <= before + 3
    check_log(node)


def test_other_topics_of_the_log_are_as_clean(graph, node):
    """``/rosout``, which viewers and recorders read."""
    lines = graph.listen(Log, "/rosout", LATCHED, matched=False)
    request = ChangeState.Request()
    request.transition.label = f"evil{FORGED}{TERMINAL}"
    graph.call(ChangeState, f"{NODE}/change_state", request)
    graph.until(lambda: any("evil" in line.msg for line in lines), "the line")
    for line in lines:
        check(line.msg)


def test_services_with_texts_of_any_kind(graph, node):
    for name in (f"rear{FORGED}", TERMINAL, "y" * 5_000_000, "\u202e"):
        answer = graph.call(GetScene, f"{NODE}/get_scene", GetScene.Request(camera=name))
        assert not answer.success
        assert "there is no camera" in answer.message
        check(answer)
        request = ChangeState.Request()
        request.transition.label = name
        assert not graph.call(ChangeState, f"{NODE}/change_state", request).success
        refused = graph.set_parameter(NODE, "segmenter.backend", name)
        assert not refused.successful
        assert graph.set_parameter(NODE, "sweep.max_regions", 16).successful
    check_log(node)


@pytest.mark.skipif(not raw_dds.is_possible(), reason="rmw_fastrtps sends what it is given")
@pytest.mark.parametrize(
    "names",
    [
        [b"bad\xff\xfename"],
        pytest.param([b"x" + FORGED.encode() + TERMINAL.encode()] * 2, marks=pytest.mark.slow),
        pytest.param([b"node%d" % n for n in range(10_000)], marks=pytest.mark.slow),
    ],
    ids=["bytes", "lines", "many"],
)
def test_nodes_of_any_names_end_nothing(graph, node, diagnostics, rear, rear_scenes, names):
    announced = raw_dds.announce(graph.node, names)
    is_text = b"\xff" not in names[0]
    if not is_text:
        graph.until(lambda: diagnostics.reports("a name that is no text", "state"), "the remark")
    diagnostics.wait_for_new(3)
    assert graph.analysed(rear, rear_scenes, graph.image(many_things(4))).regions
    raw_dds.withdraw(announced, graph.node)
    if not is_text:
        graph.until(lambda: not diagnostics.reports("no text", "state"), "the end of it")
    for array in diagnostics.arrays():
        check(array)
    check_log(node)


def test_many_topics_and_subscriptions_hold_up_no_other_camera(
    graph, node, diagnostics, rear, rear_scenes
):
    made = [
        graph.node.create_publisher(Image, f"/hostile/many{number}/image", 1)
        for number in range(150)
    ]
    graph.analysed(rear, rear_scenes, graph.image(many_things(6)))
    drawn = []
    late = [
        graph.node.create_subscription(CompressedImage, f"{NODE}/rear/annotated/compressed",
                                       drawn.append, 1)
        for _ in range(100)
    ]  # fmt: skip
    started_s = time.monotonic()
    graph.analysed(rear, rear_scenes, graph.image(many_things(7)))
    graph.until(lambda: drawn, "an image for the late ones")
    diagnostics.wait_for_new()
    # Once for the scene, and once a second for those that come later.
    times = {(image.header.stamp.sec, bytes(image.data)) for image in drawn}
    assert len(times) <= 2
    assert len(drawn) <= 100 * (4 + (time.monotonic() - started_s))
    message = diagnostics.last("front input").message
    assert len(message) < 4100
    for subscription in late:
        graph.node.destroy_subscription(subscription)
    for publisher in made:
        graph.node.destroy_publisher(publisher)
    check_log(node)


@pytest.mark.slow
def test_a_hundred_publishers_of_one_topic_hold_up_no_other_camera(
    graph, node, diagnostics, rear, rear_scenes
):
    before = node.memory_kb("RssAnon")
    publishers = [graph.node.create_publisher(Image, "/hostile/front/image", 1) for _ in range(100)]
    other = Graph("of_another_type")
    other.node.create_publisher(String, "/hostile/front/image", 1).publish(String(data=FORGED))
    graph.until(lambda: publishers[-1].get_subscription_count(), "the last one to be known")
    numbers = np.random.default_rng(13)
    for turn in range(5):
        for number, publisher in enumerate(publishers):
            height, width = (int(size) for size in numbers.integers(1, 300, 2))
            message = graph.image(np.full((height, width, 3), number, np.uint8))
            message.header.stamp.sec = (-(2**31), -1, 0, 1, 2**31 - 1)[number % 5]
            message.header.stamp.nanosec = (0, 1, 2**32 - 1)[number % 3]
            message.header.frame_id = f"{number}{FORGED}"
            publisher.publish(message)
        started_s = time.monotonic()
        assert graph.analysed(rear, rear_scenes, graph.image(many_things(turn))).regions
        diagnostics.wait_for_new()
        assert float(diagnostics.values("rear input")["age_s"]) < 2 + time.monotonic() - started_s
    for publisher in publishers:
        graph.node.destroy_publisher(publisher)
    other.close()
    assert node.memory_kb("RssAnon") < before + 300_000
    for array in diagnostics.arrays():
        check(array)
    check_log(node)


@pytest.mark.skipif(not raw_dds.is_possible(), reason="rmw_fastrtps sends what it is given")
def test_requests_that_are_no_messages_end_nothing(graph, node, rear, rear_scenes):
    check_log(node)  # What follows, the middleware writes about the requests.
    sent = 0
    for service, kind in (
        ("get_scene", "deep_perception_msgs/srv/GetScene_Request"),
        ("set_enabled", "std_srvs/srv/SetBool_Request"),
        ("get_parameters", "rcl_interfaces/srv/GetParameters_Request"),
        ("set_parameters", "rcl_interfaces/srv/SetParameters_Request"),
        ("change_state", "lifecycle_msgs/srv/ChangeState_Request"),
    ):
        publisher = raw_dds.RawPublisher(graph.node, f"rq{NODE}/{service}Request", kind)
        for body in (b"\xff" * 40, b"\xff\xff\xff\x7fab", b"\2\0\0\0\xff\xff\xff\x7f"):
            sent += publisher.publish(b"\0\1\0\0" + body)
    assert sent > 5
    assert graph.analysed(rear, rear_scenes, graph.image(many_things(5))).regions
    assert graph.call(GetScene, f"{NODE}/get_scene", GetScene.Request(camera="rear")).success
    assert graph.set_parameter(NODE, "sweep.max_regions", 16).successful
    assert node.is_running


def test_at_its_end_the_log_is_clean(node):
    node.stop()
    assert "cannot be closed" in node.log
    assert "Traceback" not in node.log
    for line in node.log.splitlines():
        check(line, 5000)
