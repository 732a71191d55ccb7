"""Faults around the node, with real processes: each is reported once, and the node goes on."""

import re
import signal
import time

import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String

from deep_perception_msgs.msg import DescribedRegionArray
from support.actors import camera_image
from support.graph import LATCHED, UNWATCHED, Diagnostics

pytestmark = pytest.mark.ros

OFTEN = {"ros.diagnostics_period_s": 0.1}
SOON = {"ros.input_timeout_s": 1.0, **OFTEN}
# Every frame is worth a scene.
EVERY = {"keyframes.mode": "interval", "keyframes.min_interval_s": 0.0}
# Seconds after which the middleware gives up a process that was killed: 6, or 20 if the middleware
# has no profile of its own for the actors.
LEASE_S = 90.0


@pytest.mark.slow
def test_a_killed_camera_is_reported_and_another_one_is_used(graph, start_node, start_actor):
    camera = start_actor("camera", "/killed/image", 10)
    graph.until(lambda: graph.node.count_publishers("/killed/image"), "the camera")
    node = start_node(
        remaps=["__ns:=/killed"], **OFTEN,
        **{"ros.input_timeout_s": 2.0, "keyframes.mode": "interval"},
    )  # fmt: skip
    diagnostics = Diagnostics(graph, "/killed/analyzer")
    scenes = graph.listen(DescribedRegionArray, "/killed/analyzer/regions", LATCHED)
    graph.until(lambda: scenes and diagnostics.reports("images arrive"), "the first scenes")
    camera.kill()
    graph.until(lambda: diagnostics.reports("no image for 2 s: "), "the silence")
    unpublished = "/killed/image has no publisher any more"
    graph.until(lambda: diagnostics.reports(unpublished), "the end of the publisher", LEASE_S)
    assert diagnostics.last().level == b"\x02"
    assert float(diagnostics.values()["age_s"]) > 1.0
    assert float(diagnostics.values()["rate_hz"]) < 10
    # Another driver, which publishes JPEG only.
    restarted_s = time.time()
    start_actor("camera", "/killed/image/compressed", 10, "jpeg")

    def returned():
        stamp = scenes[-1].header.stamp
        return stamp.sec + stamp.nanosec / 1e9 > restarted_s and diagnostics.reports(
            "images arrive"
        )

    graph.until(returned, "scenes of the other camera")
    graph.until(lambda: "input: recovered" in node.log, "the log line about it")
    stamps = [scene.header.stamp.sec for scene in scenes]
    assert stamps == sorted(stamps)
    # One line for each thing that changed.
    silent = "no image for 2 s: /killed/image has a publisher"
    for line in (unpublished, silent, "recovered"):
        assert node.log.count(line) == 1, node.log
    assert node.log.count("subscribing to /killed/image/compressed") == 1
    assert node.is_running


@pytest.mark.slow
@pytest.mark.parametrize("frozen", [False, True])
def test_subscriptions_that_never_read_hold_up_nothing(graph, start_node, start_actor, frozen):
    name = f"deaf{int(frozen)}"
    # Quick analyses, for the messages are what matters here; they have the camera's size.
    quick = {"sweep.max_width": 80, "sweep.max_height": 60, "sweep.max_regions": 3}
    node = start_node(remaps=[f"__ns:=/{name}"], **EVERY, **UNWATCHED, **quick)
    scenes = graph.listen(DescribedRegionArray, f"/{name}/analyzer/regions", LATCHED)
    camera = graph.publisher(Image, f"/{name}/image")
    deaf = start_actor("deaf", f"/{name}/analyzer")
    outputs = ("detections", "regions", "region_updates", "annotated", "annotated/compressed")
    for output in outputs:
        graph.until(
            lambda output=output: any(
                info.node_name == "deaf"
                for info in graph.node.get_subscriptions_info_by_topic(f"/{name}/analyzer/{output}")
            ),
            f"the subscription of {output}",
        )
    if frozen:
        deaf.send_signal(signal.SIGSTOP)

    def go_on(count):
        for number in range(count):
            pixels = np.kron(camera_image(number), np.ones((2, 2, 1), np.uint8))
            graph.analysed(camera, scenes, graph.image(pixels))
        return node.memory_kb("RssAnon")

    warm = go_on(60)
    assert go_on(120) < 1.05 * warm
    assert deaf.poll() is None


@pytest.mark.slow
def test_of_a_camera_at_200_hz_the_newest_frame_wins(graph, start_node, start_actor):
    # Unwatched, for the camera starts an unknown time after the node.
    node = start_node(remaps=["__ns:=/fast"], **EVERY, **OFTEN, **UNWATCHED)
    diagnostics = Diagnostics(graph, "/fast/analyzer")
    scenes = graph.listen(DescribedRegionArray, "/fast/analyzer/regions", LATCHED)
    camera = start_actor("camera", "/fast/image", 200)
    graph.until(lambda: diagnostics.count("received") > 1000, "frames", 300.0)
    assert float(diagnostics.values()["rate_hz"]) > 5
    camera.send_signal(signal.SIGSTOP)
    seen = [int(scene.header.frame_id) for scene in scenes]
    assert seen == sorted(set(seen))
    # How many of them are analysed depends on the machine's load; which ones does not.
    assert max(np.diff(seen)) > 1

    def accounted_for():
        values = diagnostics.values()
        done = int(values["replaced_by_newer"]) + diagnostics.count("keyframes", "analysis")
        return float(values["age_s"]) > 1.0 and int(values["received"]) == done

    graph.until(accounted_for, "the end of the last frame")
    # Of the node one or two, the others wait in the tester's own queue of 10 on a loaded machine.
    assert len(scenes) <= len(seen) + 20, "frames were waiting in a queue"
    values = diagnostics.values()
    assert int(values["replaced_by_newer"]) > 0
    others = ("between_keyframes", "disabled", "failed", "outdated")
    assert [values[key] for key in others] == ["0"] * 4
    # A loaded machine loses some of 200 frames a second, and then the node says so.
    warnings = [line for line in node.log.splitlines() if "WARN" in line]
    assert all("images a second arrive on /fast/image" in line for line in warnings)
    assert warnings or diagnostics.reports("images arrive")
    assert "ERROR" not in node.log


def depth(value):
    pixels = np.full((120, 160), 2.0, np.float32)
    pixels[20:70, 30:90] = 5.0
    pixels[80:110, 100:150] = value
    return pixels


def raw(graph, **fields):
    return graph.image(camera_image(1), **fields)


BAD = {
    "data is too short": (lambda graph: raw(graph, height=121), "data has 57600 bytes"),
    "rows are too short": (lambda graph: raw(graph, step=100), "step is 100 bytes"),
    "wider than its rows": (lambda graph: raw(graph, width=640), "step is 480 bytes"),
    "of no size": (lambda graph: raw(graph, width=0, height=0), "the image is 0x0 pixels"),
    "without data": (lambda graph: raw(graph, data=b""), "data has 0 bytes"),
    "of a huge size": (
        lambda graph: raw(graph, width=2**31, step=2**32 - 1),
        "is too large (2147483648x120 pixels",
    ),
    "of no encoding": (lambda graph: raw(graph, encoding=""), "encoding '' is not supported"),
    "of a new encoding": (lambda graph: raw(graph, encoding="rgb10"), "'rgb10' is not supported"),
}


@pytest.fixture(scope="module")
def steady(start_module_node):
    return start_module_node(remaps=["__ns:=/bad"], **EVERY, **OFTEN, **UNWATCHED)


@pytest.fixture(scope="module")
def steady_diagnostics(graph, steady):
    return Diagnostics(graph, "/bad/analyzer")


@pytest.fixture(scope="module")
def steady_scenes(graph, steady):
    return graph.listen(DescribedRegionArray, "/bad/analyzer/regions", LATCHED)


@pytest.fixture(scope="module")
def steady_camera(graph, steady):
    return graph.publisher(Image, "/bad/image")


@pytest.mark.parametrize("what", BAD)
def test_a_bad_frame_is_one_clear_error_and_the_next_good_one_works(
    graph, steady, steady_diagnostics, steady_scenes, steady_camera, what
):
    make, reason = BAD[what]

    def publish_until(condition, awaited):
        graph.publish_until(steady_camera, lambda: make(graph), condition, awaited)

    publish_until(
        lambda: steady_diagnostics.reports(reason), lambda: f"{reason}; {steady_diagnostics.last()}"
    )
    assert steady_diagnostics.last().level == b"\x02"
    failed = steady_diagnostics.count("failed")
    publish_until(lambda: steady_diagnostics.count("failed") >= failed + 3, "three more of them")
    assert graph.analysed(steady_camera, steady_scenes, graph.image(camera_image(2))).regions
    graph.until(lambda: steady_diagnostics.reports("images arrive"), "the recovery")
    # Others of this kind, with other numbers or another quotation, are not logged again.
    kind = re.sub(r"'.*'", "'.*'", re.sub(r"\d+", r"\\d+", re.escape(reason)))
    assert len(re.findall(kind, steady.log)) == 1
    assert "Traceback" not in steady.log


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0])
@pytest.mark.parametrize("all_of_it", [False, True])
def test_depth_without_measurements_is_analysed(
    graph, steady, steady_scenes, steady_camera, value, all_of_it
):
    pixels = np.full((120, 160), value, np.float32) if all_of_it else depth(value)
    scene = graph.analysed(steady_camera, steady_scenes, graph.image(pixels, "32FC1"))
    assert len(scene.regions) >= (1 if all_of_it else 2)
    assert "Warning" not in steady.log


@pytest.mark.slow
def test_every_other_frame_broken_is_no_endless_log(
    graph, steady, steady_diagnostics, steady_scenes, steady_camera
):
    before = len(steady.log.splitlines())
    for number in range(40):
        graph.analysed(steady_camera, steady_scenes, graph.image(camera_image(number)))
        failed = steady_diagnostics.count("failed")
        graph.publish_until(
            steady_camera,
            lambda number=number: raw(graph, encoding=f"broken{number}"),
            lambda failed=failed: steady_diagnostics.count("failed") > failed,
            "that the broken frame is counted",
        )
    new = steady.log.splitlines()[before:]
    # None if an earlier test has had such a line within the last minute.
    assert len([line for line in new if "broken" in line]) <= 1
    # The recovery of an earlier test may be logged in between.
    assert len(new) <= 2, new


def test_a_camera_of_which_nothing_can_be_decoded(graph, start_node):
    start_node(remaps=["__ns:=/garbage"], **SOON)
    diagnostics = Diagnostics(graph, "/garbage/analyzer")
    camera = graph.publisher(CompressedImage, "/garbage/image/compressed", matched=False)
    reason = "/garbage/image/compressed: format 'jpeg': 9 bytes cannot be decoded"
    graph.publish_until(
        camera,
        lambda: graph.stamp(CompressedImage(format="jpeg", data=b"no image.")),
        lambda: diagnostics.reports(reason),
        lambda: f"the reason; {diagnostics.last()}",
    )
    assert diagnostics.last().level == b"\x02"
    assert diagnostics.reports("nothing analysed yet", "analysis")


def test_one_of_two_cameras_is_wrong_and_later_of_the_right_type(graph, start_node):
    start_node(remaps=["__ns:=/pair"], **SOON, **{"ros.cameras": "front,rear"})
    diagnostics = Diagnostics(graph, "/pair/analyzer")
    front = graph.publisher(Image, "/pair/front/image")

    def publish_until(condition, what):
        graph.publish_until(front, lambda: graph.image(camera_image(1)), condition, what)

    def rear():
        return diagnostics.last("rear input")

    def rear_alone_is_missed():
        return diagnostics.reports(missing, "rear input") and (
            diagnostics.last("front input").level == b"\0"
        )

    missing = "/pair/rear/image has no publisher; "
    publish_until(rear_alone_is_missed, lambda: f"{missing}; {rear()}")
    # The other camera's topic is named, but it is no advice.
    assert not [
        status.message
        for array in diagnostics.arrays()
        for status in array.status
        if status.name.endswith("rear input") and ":=/pair/front" in status.message
    ]
    text = graph.publisher(String, "/pair/rear/image", matched=False)
    wrong = "/pair/rear/image carries std_msgs/msg/String, expected sensor_msgs/msg/Image"
    publish_until(lambda: diagnostics.reports(wrong, "rear input"), lambda: f"{wrong}; {rear()}")
    graph.node.destroy_publisher(text)
    camera = graph.publisher(CompressedImage, "/pair/rear/image", matched=False)
    graph.until(camera.get_subscription_count, "the other type")


@pytest.mark.slow
def test_cameras_that_differ_in_a_number_are_each_missed(graph, start_node):
    node = start_node(remaps=["__ns:=/numbers"], **SOON, **{"ros.cameras": "cam1,cam2"})
    for camera in ("cam1", "cam2"):
        missing = f"/numbers/{camera}/image has no publisher; "
        graph.until(lambda text=missing: text in node.log, missing)
        assert node.log.count(missing) == 1
