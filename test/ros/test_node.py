"""The node over DDS, from another process: its input, outputs and services."""

import json
import signal
import time

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, Image
from std_srvs.srv import SetBool, Trigger
from vision_msgs.msg import Detection2DArray

from deep_perception_msgs.msg import DescribedRegion, DescribedRegionArray, SceneState
from deep_perception_msgs.srv import GetScene
from support.graph import LATCHED, UNWATCHED, Diagnostics

coco = pytest.importorskip("pycocotools.mask", reason="needs pycocotools (pip)")

pytestmark = pytest.mark.ros

BOX = (60, 40, 180, 150)  # x1, y1, x2, y2 of the square in the test image


def camera_image():
    image = np.full((240, 320, 3), (190, 190, 190), np.uint8)
    image[BOX[1] : BOX[3], BOX[0] : BOX[2]] = (30, 30, 200)
    return image


def corners(bbox):
    x, y = bbox.center.position.x, bbox.center.position.y
    return (
        x - bbox.size_x / 2,
        y - bbox.size_y / 2,
        x + bbox.size_x / 2,
        y + bbox.size_y / 2,
    )


def has_the_square(detections):
    return any(
        np.abs(np.subtract(corners(found.bbox), BOX)).max() <= 4 for found in detections.detections
    )


@pytest.fixture(scope="module")
def node(start_module_node):
    return start_module_node(**UNWATCHED, **{"ros.diagnostics_period_s": 0.1})


@pytest.fixture(scope="module")
def diagnostics(graph, node):
    return Diagnostics(graph, "/analyzer")


@pytest.fixture(scope="module")
def detections(graph, node):
    return graph.listen(Detection2DArray, "/analyzer/detections")


@pytest.fixture(scope="module")
def camera(graph, node):
    return graph.publisher(Image, "/image")


def test_a_frame_becomes_detections_and_regions_of_its_own_header(graph, camera, detections):
    regions = graph.listen(DescribedRegionArray, "/analyzer/regions", LATCHED)
    updates = graph.listen(DescribedRegion, "/analyzer/region_updates", 500)
    graph.analysed(camera, detections, graph.image(camera_image()))
    sent = graph.image(camera_image())
    graph.analysed(camera, updates, sent)
    found = graph.answer(detections, sent, "detections")
    scene = graph.answer(regions, sent, "regions")
    assert has_the_square(found)
    assert (scene.width, scene.height) == (320, 240)
    assert scene.complete
    assert scene.segmenter == "superpixels"
    assert len(scene.regions) == len(found.detections)
    for region, detection in zip(scene.regions, found.detections, strict=True):
        assert region.header == detection.header == sent.header
        assert region.bbox == detection.bbox
        assert region.status in (DescribedRegion.STATUS_DESCRIBED, DescribedRegion.STATUS_REUSED)
        assert region.description.endswith(".")
        assert detection.results[0].hypothesis.class_id == region.label
        mask = coco.decode({"size": [240, 320], "counts": region.mask.counts.encode()})
        assert mask.sum() == region.area
        x1, y1, x2, y2 = corners(region.bbox)
        assert (0 <= x1 < x2 <= 320) and (0 <= y1 < y2 <= 240)
        assert coco.toBbox(
            {"size": [240, 320], "counts": region.mask.counts.encode()}
        ).tolist() == [x1, y1, x2 - x1, y2 - y1]
        assert mask[int(region.point.y), int(region.point.x)]

    def indices():
        return sorted(update.index for update in updates if update.header == sent.header)

    graph.until(lambda: len(indices()) >= len(scene.regions), "all updates")
    assert indices() == [region.index for region in scene.regions]


def grey(bgr):
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)


def yuv(bgr, order):
    i420 = cv2.cvtColor(bgr, cv2.COLOR_BGR2YUV_I420).reshape(-1)
    height, width = bgr.shape[:2]
    luma, quarter = width * height, width * height // 4
    u = i420[luma : luma + quarter].reshape(height // 2, width // 2)
    v = i420[luma + quarter :].reshape(height // 2, width // 2)
    if order == "nv21":
        chroma = np.stack([v, u], axis=-1).reshape(height // 2, width)
        return np.vstack([i420[:luma].reshape(height, width), chroma])
    packed = np.zeros((height, width, 2), np.uint8)
    y_at, c_at = (1, 0) if order == "uyvy" else (0, 1)
    packed[..., y_at] = i420[:luma].reshape(height, width)
    packed[:, 0::2, c_at], packed[:, 1::2, c_at] = u.repeat(2, axis=0), v.repeat(2, axis=0)
    return packed


def depth():
    return np.where(grey(camera_image()) > 100, 4.0, 1.5)


ENCODED = {
    "rgb8": lambda: camera_image()[..., ::-1],
    "bgr8": camera_image,
    "rgba8": lambda: cv2.cvtColor(camera_image(), cv2.COLOR_BGR2RGBA),
    "bgra8": lambda: cv2.cvtColor(camera_image(), cv2.COLOR_BGR2BGRA),
    "mono8": lambda: grey(camera_image()),
    "mono16": lambda: grey(camera_image()).astype(np.uint16) * 257,
    "bayer_rggb8": lambda: grey(camera_image()),
    "bayer_bggr8": lambda: grey(camera_image()),
    "bayer_gbrg8": lambda: grey(camera_image()),
    "bayer_grbg8": lambda: grey(camera_image()),
    "yuv422_yuy2": lambda: yuv(camera_image(), "yuyv"),
    "uyvy": lambda: yuv(camera_image(), "uyvy"),
    "nv21": lambda: yuv(camera_image(), "nv21"),
    "16UC1": lambda: (depth() * 1000).astype(np.uint16),
    "32FC1": lambda: depth().astype(np.float32),
    # A 12-bit camera, and signed hundredths of a degree.
    "rgb16": lambda: camera_image()[..., ::-1].astype(np.uint16) * 16,
    "16SC1": lambda: ((depth() - 2) * 1000).astype(np.int16),
}


@pytest.mark.parametrize("encoding", ENCODED)
def test_every_encoding_shows_the_same_square(graph, camera, detections, encoding):
    message = graph.image(ENCODED[encoding](), encoding)
    message.height = 240  # nv21 has more rows of data than the image
    assert has_the_square(graph.analysed(camera, detections, message))


def test_padded_rows_and_big_endian_pixels(graph, camera, detections):
    rows = (grey(camera_image()).astype(">u2") * 257).view(np.uint8).reshape(240, 640)
    padded = np.hstack([rows, np.full((240, 24), 0xA5, np.uint8)])
    message = graph.image(padded, "mono16", width=320, is_bigendian=1)
    assert message.step == 664
    assert has_the_square(graph.analysed(camera, detections, message))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"encoding": "yuv999"}, "encoding 'yuv999' is not supported"),
        ({"step": 7}, "step is 7 bytes"),
    ],
)
def test_a_frame_that_cannot_be_read_is_logged_once_and_the_node_goes_on(
    graph, node, camera, detections, diagnostics, fields, reason
):
    diagnostics.wait_for_new()
    failed = diagnostics.count("failed")
    graph.publish_until(
        camera,
        lambda: graph.image(camera_image(), **fields),
        lambda: diagnostics.count("failed") >= failed + 3,
        "three such frames",
    )
    status = diagnostics.last()
    assert reason in status.message
    assert status.level == status.ERROR
    assert "/image" in status.message
    assert node.log.count(reason) == 1
    assert has_the_square(graph.analysed(camera, detections, graph.image(camera_image())))
    graph.until(lambda: diagnostics.last().message == "images arrive", "recovery")


def test_annotated_images_are_published_while_they_have_a_subscription(graph, camera, detections):
    annotated = graph.listen(Image, "/analyzer/annotated")
    compressed = graph.listen(CompressedImage, "/analyzer/annotated/compressed")
    graph.analysed(camera, compressed, graph.image(camera_image()))
    sent = graph.image(camera_image())
    drawn = graph.analysed(camera, annotated, sent)
    assert (drawn.width, drawn.height, drawn.encoding) == (320, 240, "bgr8")
    jpeg = graph.answer(compressed, sent, "annotated/compressed")
    decoded = cv2.imdecode(np.frombuffer(jpeg.data, np.uint8), cv2.IMREAD_COLOR)
    raw = np.frombuffer(drawn.data, np.uint8).reshape(240, 320, 3)
    assert np.abs(decoded.astype(int) - raw).mean() < 8
    assert (raw != camera_image()).any()


def test_a_late_subscription_gets_the_last_scene(graph, camera, detections):
    sent = graph.image(camera_image())
    graph.analysed(camera, detections, sent)
    late = graph.listen(DescribedRegionArray, "/analyzer/regions", LATCHED)
    graph.answer(late, sent, "the latched scene")


def test_frames_between_keyframes_are_left_alone(graph, camera, detections, diagnostics):
    first = graph.image(camera_image())
    graph.analysed(camera, detections, first)
    soon = graph.image(camera_image())
    soon.header.stamp.sec = first.header.stamp.sec
    soon.header.stamp.nanosec = first.header.stamp.nanosec + 500_000_000
    later = graph.image(camera_image())
    diagnostics.wait_for_new()
    left_alone = diagnostics.count("between_keyframes")
    graph.publish_until(
        camera,
        lambda: soon,
        lambda: diagnostics.count("between_keyframes") > left_alone,
        "that it is left alone",
    )
    graph.analysed(camera, detections, later)
    assert soon.header not in [found.header for found in detections]


def test_a_parameter_takes_effect_at_the_next_keyframe(graph, camera, detections):
    assert graph.set_parameter("/analyzer", "sweep.max_regions", 1).successful
    try:
        limited = graph.analysed(camera, detections, graph.image(camera_image()))
        assert len(limited.detections) == 1
    finally:
        assert graph.set_parameter("/analyzer", "sweep.max_regions", 0).successful
    assert len(graph.analysed(camera, detections, graph.image(camera_image())).detections) > 1


def test_get_scene_and_set_enabled(graph, camera, detections, diagnostics):
    sent = graph.image(camera_image())
    graph.analysed(camera, detections, sent)
    answer = graph.call(GetScene, "/analyzer/get_scene", GetScene.Request())
    assert answer.success
    assert answer.scene.header == sent.header
    assert all(region.mask.counts == "" for region in answer.scene.regions)
    content = json.loads(answer.json)
    assert content["stamp"] == sent.header.stamp.sec + sent.header.stamp.nanosec / 1e9
    assert content["frame_id"] == "camera_optical_frame"
    assert content["age_s"] > 0
    assert [region["label"] for region in content["regions"]] == [
        region.label for region in answer.scene.regions
    ]
    assert "segmentation" not in content["regions"][0]
    assert content["state"] == answer.state.state == SceneState.LIVE
    assert answer.state.header == sent.header
    full = graph.call(GetScene, "/analyzer/get_scene", GetScene.Request(include_masks=True))
    assert all(region.mask.counts for region in full.scene.regions)
    wrong = graph.call(GetScene, "/analyzer/get_scene", GetScene.Request(camera="rear"))
    assert not wrong.success
    assert "'rear'" in wrong.message

    assert graph.call(SetBool, "/analyzer/set_enabled", SetBool.Request(data=False)).success
    unseen = graph.image(camera_image())
    graph.publish_until(
        camera,
        lambda: unseen,
        lambda: diagnostics.count("disabled") >= 3,
        "three frames that are not analysed",
    )
    assert unseen.header not in [found.header for found in detections]
    # The answer tells an old scene from a live one.
    answer = graph.call(GetScene, "/analyzer/get_scene", GetScene.Request())
    assert json.loads(answer.json)["state"] == answer.state.state == SceneState.DISABLED
    asked = graph.call(Trigger, "/analyzer/request_keyframe", Trigger.Request())
    assert not asked.success
    assert asked.message.startswith("disabled")
    assert graph.call(SetBool, "/analyzer/set_enabled", SetBool.Request(data=True)).success
    graph.analysed(camera, detections, graph.image(camera_image()))


def test_interrupting_twice_ends_the_node_cleanly(node):
    # As Ctrl-C under `ros2 launch` does: once by the terminal, once by launch.
    node.send_signal(signal.SIGINT)
    time.sleep(0.02)
    assert node.stop() == 0
    assert "Traceback" not in node.log
