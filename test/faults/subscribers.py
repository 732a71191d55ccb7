"""Faults of subscribers: late, vanishing, many, deaf, of another type or QoS."""

import contextlib
import signal

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String
from vision_msgs.msg import Detection2DArray

from deep_perception_msgs.msg import DescribedRegion, DescribedRegionArray, SceneState
from faults.table import fault
from support.graph import LATCHED

OUTPUTS = {
    "regions": DescribedRegionArray, "region_updates": DescribedRegion, "scene_state": SceneState,
    "detections": Detection2DArray, "annotated": Image, "annotated/compressed": CompressedImage,
}  # fmt: skip


def any_qos(chance):
    return QoSProfile(
        depth=chance.choice((1, 5, 1000)),
        history=chance.choice((HistoryPolicy.KEEP_LAST, HistoryPolicy.KEEP_ALL)),
        reliability=chance.choice((ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT)),
        durability=chance.choice((DurabilityPolicy.VOLATILE, DurabilityPolicy.TRANSIENT_LOCAL)),
    )


def subscribe(world, chance, stack, kind=None, node=None):
    output = chance.choice(sorted(OUTPUTS))
    topic = f"{world.name}/{chance.choice(world.cameras)}/{output}"
    node = node or world.graph.node
    subscription = node.create_subscription(
        kind or OUTPUTS[output], topic, lambda message: None, any_qos(chance)
    )
    stack.callback(node.destroy_subscription, subscription)


@fault()
def many(world, chance):
    with contextlib.ExitStack() as stack:
        for _ in range(chance.randint(5, 40)):
            subscribe(world, chance, stack)
        yield


@fault()
def vanishing(world, chance):
    for _ in range(chance.randint(3, 15)):
        with contextlib.ExitStack() as stack:
            subscribe(world, chance, stack)
            world.graph.spin(chance.choice((0.0, 0.02, 0.2)))
    yield


@fault()
def of_another_type(world, chance):
    with world.stranger() as node, contextlib.ExitStack() as stack:
        for _ in range(5):
            subscribe(world, chance, stack, String, node)
        yield


@fault()
def late(world, chance):
    """A late one gets the latched scene and state, and they are of the camera's newest scene."""
    received = []
    node = world.graph.node
    topic = f"{world.name}/healthy/regions"
    before = world.scenes["healthy"][-1].keyframe
    subscription = node.create_subscription(DescribedRegionArray, topic, received.append, LATCHED)
    world.graph.until(lambda: received, "the latched scene")
    if received[0].keyframe < before:
        world.problem(f"the latched scene is {received[0].keyframe}, {before} was published")
    yield
    node.destroy_subscription(subscription)


@fault()
def deaf(world, chance):
    camera = chance.choice(world.cameras)
    process = world.start_actor("deaf", f"{world.name}/{camera}")
    topic = f"{world.name}/{camera}/detections"

    def is_there():
        infos = world.graph.node.get_subscriptions_info_by_topic(topic)
        return any(info.node_name == "deaf" for info in infos)

    world.graph.until(is_there, "the deaf subscriptions")
    if chance.random() < 0.5:
        process.send_signal(signal.SIGSTOP)
    yield
    process.kill()
    process.wait()
