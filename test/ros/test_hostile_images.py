"""What no camera sends costs the node that frame of one camera, and no other camera a turn."""

import struct

import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, Image

from deep_perception.encodings import EncodingError
from deep_perception.ros.received_frame import ReceivedFrame
from deep_perception_msgs.msg import DescribedRegionArray
from support import hostile_images as hostile
from support.graph import LATCHED, Diagnostics

pytestmark = pytest.mark.ros

NAMES = ("bad", "good")


def picture(color):
    image = np.full((240, 320, 3), (190, 190, 190), np.uint8)
    image[40:120, 60:160] = color
    return image


def compressed(data, format_="jpeg", frame_id="camera"):
    message = CompressedImage(data=data, format=format_)
    message.header.frame_id = frame_id
    return message


def messages():
    """Messages of a bad camera, and what the diagnostics say about them."""
    bombs = hostile.bombs()
    claimed = b"\0\1\0\0" + struct.pack("<iII", 1, 0, 4_000_000_000) + b"front"
    return [
        (b"\0\1\0\0", "the message cannot be read"),
        (claimed, "the frame id has 4000000000 bytes"),
        (compressed(hostile.jpeg(), frame_id="x" * 1_000_000), "the frame id has 1000001 bytes"),
        (compressed(b"abc", "\x1b[2Jx" * 200_000), r"format '\x1b[2Jx\x1b[2Jx"),
        (compressed(bombs["png of 900 megapixels"][0]), "too large (30000x30000 pixels"),
        (compressed(bombs["jpeg of 900 megapixels"][0]), "too large (30000x30000 pixels"),
        (compressed(bombs["jpeg of scans"][0]), "scans"),
        (compressed(hostile.encoded(".webp", hostile.NOISE)), "expected jpeg or png"),
    ]


def test_bad_messages_are_errors_of_their_camera_only(graph, start_node):
    node = start_node(
        remaps=["__ns:=/hostile"],
        **{
            "ros.cameras": "bad, good", "ros.transport": "compressed",
            "ros.diagnostics_period_s": 0.1, "ros.input_timeout_s": 60.0,
            "keyframes.mode": "interval", "keyframes.min_interval_s": 0.0,
        },
    )  # fmt: skip
    cameras = {
        name: graph.publisher(CompressedImage, f"/hostile/{name}/image/compressed")
        for name in NAMES
    }
    scenes = {
        name: graph.listen(DescribedRegionArray, f"/hostile/analyzer/{name}/regions", LATCHED)
        for name in NAMES
    }
    diagnostics = Diagnostics(graph, "/hostile/analyzer")
    for message, said in messages():

        def reported(message=message, said=said):
            cameras["bad"].publish(message)
            graph.spin(0.05)
            return diagnostics.reports(said, "bad input")

        graph.until(reported, f"the report about {said!r}")
        assert len(diagnostics.last("bad input").message) < 1000
    graph.analysed(
        cameras["good"], scenes["good"], compressed(hostile.jpeg(pixels=picture((30, 30, 200))))
    )
    # The bad camera sends an image at last.
    graph.analysed(
        cameras["bad"], scenes["bad"], compressed(hostile.jpeg(pixels=picture((30, 200, 30))))
    )
    assert node.is_running and "Traceback" not in node.log
    assert max(map(len, node.log.splitlines())) < 2000


@pytest.mark.parametrize(
    ("kind", "megabytes", "said"),
    [
        (CompressedImage, 81, "81 MB, at most 80 MB"),
        (Image, 321, "321 MB, at most 320 MB"),
    ],
)
def test_a_message_that_is_too_large_is_refused_before_it_is_read(kind, megabytes, said):
    frame = ReceivedFrame(bytes(megabytes * 10**6), 0.0, 0, kind)
    with pytest.raises(EncodingError, match=said):
        frame.message  # noqa: B018
