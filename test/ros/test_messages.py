"""Scenes become messages and scenes again without loss."""

import numpy as np
import pytest
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from deep_perception import encodings
from deep_perception.analyzer import Analyzer
from deep_perception.regions import Description, Region
from deep_perception.reports.fields import scene_fields
from deep_perception.reports.messages import Keyframe
from deep_perception.ros import messages

pytestmark = pytest.mark.ros


def scene():
    image = np.full((240, 320, 3), (190, 190, 190), np.uint8)
    image[40:150, 60:180] = (30, 30, 200)
    return Analyzer().analyze(image.repeat(3, axis=0).repeat(3, axis=1))


def keyframe():
    header = Header(frame_id="camera_optical_frame")
    header.stamp.sec, header.stamp.nanosec = 12, 34
    return Keyframe(header, 5, "view", "front")


def test_a_scene_survives_the_wire():
    original, frame = scene(), keyframe()
    message = messages.to_regions(original, frame)
    received = deserialize_message(serialize_message(message), type(message))
    assert received == message
    assert (received.header, received.keyframe) == (frame.header, 5)
    assert (received.reason, received.camera) == ("view", "front")
    back = scene_fields(messages.from_regions(received))
    expected = scene_fields(original)
    for key in ("proposed_points", "timings"):  # these are in the diagnostics, not in the message
        back.pop(key)
        expected.pop(key)
    assert back == expected


def test_a_failed_region_is_published_as_failed():
    region = scene().regions[0].described(Description(status="failed", error="timed out"))
    message = messages.to_region(region, keyframe())
    assert (message.status, message.error) == ("failed", "timed out")
    assert message.label == message.description == ""
    assert message.mask.counts


def test_latency_is_a_duration():
    description = Description(status="described", label="a", text="b", latency_s=2.25)
    message = messages.to_region(scene().regions[0].described(description), keyframe())
    assert (message.latency.sec, message.latency.nanosec) == (2, 250_000_000)


def test_an_image_message_holds_the_pixels():
    image = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    for view in (image, image[:, ::-1]):
        message = messages.to_image(view, Header(frame_id="a"))
        assert (message.height, message.width, message.step) == (5, 7, 21)
        assert np.array_equal(encodings.message_to_bgr(message), view)
        assert deserialize_message(serialize_message(message), Image) == message


def test_regions_carry_their_track():
    track = {
        "track_id": "t7", "first_seen_ns": 1_500_000_000, "last_described_ns": 2_000_000_007,
        "revision": 3,
    }  # fmt: skip
    tracked = Region(**{**vars(scene().regions[0]), **track})
    message = messages.to_region(tracked, keyframe())
    assert (message.track_id, message.revision) == ("t7", 3)
    assert (message.first_seen.sec, message.first_seen.nanosec) == (1, 500_000_000)
    assert (message.last_described.sec, message.last_described.nanosec) == (2, 7)
