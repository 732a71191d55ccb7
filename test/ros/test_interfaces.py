"""The interfaces that the bootstrap builds: upstream's vision_msgs, and ours."""

import json
from pathlib import Path

import pytest
import vision_msgs.msg
from ament_index_python.packages import get_package_share_directory
from builtin_interfaces.msg import Duration, Time
from diagnostic_msgs.msg import KeyValue
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from vision_msgs.msg import BoundingBox2D, Point2D, Pose2D

from deep_perception_msgs.action import AnalyzeImage, DescribeRegion
from deep_perception_msgs.msg import DescribedRegion, DescribedRegionArray, RegionMask
from deep_perception_msgs.srv import GetScene

pytestmark = pytest.mark.ros

# Computed by rosbags from the .msg files of the tag 4.1.1 of ros-perception/vision_msgs. Two
# programs can talk only when these agree, so a copy with another field would show here.
UPSTREAM = {
    "BoundingBox2D": "008eacbb0cf8f26e83795547bed013eec3675485ef386ec056d80eaaf1c1ce2f",
    "BoundingBox2DArray": "2464e82838009386d371b523211c21c91d74d313fcdd6788223c531d621cf691",
    "BoundingBox3D": "bbb73a65c163d7f9bb29009c7bde9f7faa576bd2d23299c4511d19230dab4698",
    "BoundingBox3DArray": "a81938db9576b10c2eecd7c5a5da3eac496efd00221b25ed051dfbc81fb56da6",
    "Classification": "f74db28d0eaef3afb78f48bf2161cd709a1383a0309d3454383b25be11345143",
    "Detection2D": "0d12b69df5c593b3455b7346fac8205437a7d4bcb09b9e0e0b2dde787ded38ea",
    "Detection2DArray": "214274120007f4a683866481336b70310268cfa107aebe9d594a6acf75bda968",
    "Detection3D": "ddd703be132ab0b69d33121f1bb034132bfbb3b0ac5f9fb1516005ba1c8a265b",
    "Detection3DArray": "793f5eab9595ac1c0da07873cc859db42eae51f0ee76056db8562515d830e018",
    "LabelInfo": "3d37df4015cdf660cc851c51897f2acd957e1ca6205ba0a99aebffb9406b0783",
    "ObjectHypothesis": "51da43cec11c01957a64d1e05a24acd18aae7745ec30b74348ad5f6d634f7f90",
    "ObjectHypothesisWithPose": "41c12344c0396c48b81df12467c192d99b2a0eb1463c5c37194e4223251c80bc",
    "Point2D": "eab0e83f44ab4de92ceaf76dd7d0e7638f2bdd1d16ffbe16c7a136c48e407247",
    "Pose2D": "b0b5d1d7b4c20dd4fcde3ed1d4b289a919290572007d67a97043814db25d3648",
    "VisionClass": "1e4a11f0fed50b5623cb8ff26ca0e37952a48a9c074d16f804b44e9164c2037a",
    "VisionInfo": "95d3116a17484ad91c9a2686e1d54890bbfc3ff6c6a2de137738c4950d45d284",
}

HEADER = Header(stamp=Time(sec=5, nanosec=6), frame_id="camera")
MASK = RegionMask(height=4, width=3, counts="0<")
BOX = BoundingBox2D(
    center=Pose2D(position=Point2D(x=1.5, y=2.0), theta=0.5), size_x=3.0, size_y=4.0
)
REGION = DescribedRegion(
    header=HEADER,
    camera="front",
    keyframe=7,
    index=1,
    track_id="a1",
    source=DescribedRegion.SOURCE_CONTOUR,
    point=Point2D(x=1.0, y=2.0),
    bbox=BOX,
    mask=MASK,
    area=12,
    score=0.5,
    label="cup",
    description="A white cup.",
    attributes=[KeyValue(key="colour", value="white")],
    status=DescribedRegion.STATUS_DESCRIBED,
    describer="attributes",
    latency=Duration(nanosec=9),
    truncated=True,
    first_seen=Time(sec=1),
    last_described=Time(sec=2),
    revision=3,
)
SCENE = DescribedRegionArray(
    header=HEADER,
    camera="front",
    keyframe=7,
    reason="scene",
    width=3,
    height=4,
    coverage=0.25,
    complete=True,
    skipped_points=[Point2D(x=2.0, y=3.0)],
    segmenter="superpixels",
    warnings=["late"],
    regions=[REGION, REGION],
)
IMAGE = Image(header=HEADER, height=1, width=2, encoding="mono8", step=2, data=[1, 2])
JPEG = CompressedImage(header=HEADER, format="jpeg", data=[255, 216])
MESSAGES = [
    MASK,
    REGION,
    SCENE,
    GetScene.Request(camera="front", include_masks=True),
    GetScene.Response(success=True, message="", scene=SCENE, json="{}"),
    AnalyzeImage.Goal(camera="front", image=IMAGE, prompt="?", deadline=Duration(sec=1)),
    AnalyzeImage.Result(success=True, error="", scene=SCENE),
    AnalyzeImage.Feedback(stage=AnalyzeImage.Feedback.STAGE_SWEEP, progress=0.5, regions=[REGION]),
    DescribeRegion.Goal(
        compressed_image=JPEG, by=DescribeRegion.Goal.BY_MASK, bbox=BOX, mask=MASK, track_id="a1"
    ),
    DescribeRegion.Result(success=False, error="no", region=REGION),
    DescribeRegion.Feedback(partial_text="A white"),
]


def test_all_upstream_messages_are_there():
    assert {name for name in vars(vision_msgs.msg) if name[0].isupper()} == set(UPSTREAM)


@pytest.mark.parametrize("name", UPSTREAM)
def test_type_hash_equals_upstream(name):
    path = Path(get_package_share_directory("vision_msgs")) / "msg" / f"{name}.json"
    hashes = {entry["type_name"]: entry["hash_string"] for entry in load(path)["type_hashes"]}
    assert hashes[f"vision_msgs/msg/{name}"] == f"RIHS01_{UPSTREAM[name]}"


def load(path):
    return json.loads(path.read_text(encoding="utf-8"))


def test_type_hash_on_the_wire(graph):
    publisher = graph.publisher(vision_msgs.msg.Detection2DArray, "hashed", matched=False)
    infos = graph.until(
        lambda: graph.node.get_publishers_info_by_topic("hashed"), "the publisher in the graph"
    )
    hashes = [bytes(info.topic_type_hash.value).hex() for info in infos]
    assert hashes == [UPSTREAM["Detection2DArray"]]
    assert infos[0].topic_type_hash.version == 1
    graph.node.destroy_publisher(publisher)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_round_trip(message):
    copy = deserialize_message(serialize_message(message), type(message))
    assert copy == message
    assert copy != type(message)()
