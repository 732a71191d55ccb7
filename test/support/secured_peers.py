"""Peers of a graph with DDS Security, each in a process of its own.

An enclave is that of a process: its participants of DDS have one set of permissions.
"""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor

import numpy as np
from rcl_interfaces.srv import GetParameters
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image

from deep_perception.ros.rclpy_internals import RCLError
from deep_perception_msgs.msg import DescribedRegionArray
from deep_perception_msgs.srv import GetScene
from support.graph import LATCHED, PATIENCE_S, Graph

IMAGES, SCENES = "/camera/image_raw", "/analyzer/regions"
# Of the process of a peer.
graph: Graph | None = None
received = []


def enclave(keystore, name):
    """The environment of a process in an enclave."""
    return {
        "ROS_SECURITY_ENABLE": "true",
        "ROS_SECURITY_STRATEGY": "Enforce",
        "ROS_SECURITY_KEYSTORE": str(keystore),
        "ROS_SECURITY_ENCLAVE_OVERRIDE": f"/deep_perception/{name}",
    }


class Peer:
    """A node of that name; ``do`` runs one of the functions below in its process."""

    def __init__(self, name, environment):
        self._process = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        self.do(join, name, environment)

    def do(self, function, *arguments):
        """Return what the function returns, or raise what it raises."""
        return self._process.submit(function, *arguments).result(2 * PATIENCE_S)

    def close(self):
        self._process.shutdown(cancel_futures=True)


def join(name, environment):
    global graph
    os.environ.update(environment)
    try:
        graph = Graph(name)
    except RCLError as error:  # which is no exception that can be sent to another process
        raise PermissionError(str(error)) from None


def publish_image():
    """Publish an image with a red thing, once there is a subscription."""
    publisher = graph.publisher(Image, IMAGES, qos_profile_sensor_data)
    pixels = np.full((120, 160, 3), 90, np.uint8)
    pixels[30:80, 40:100] = (20, 30, 200)
    publisher.publish(graph.image(pixels))


def listen():
    received.append(graph.listen(DescribedRegionArray, SCENES, LATCHED, matched=False))


def regions_of_first_scene():
    """The number of regions, or None if no scene has come."""
    graph.executor.spin_once(timeout_sec=0.1)
    return len(received[0][0].regions) if received[0] else None


def ask_for_scene():
    client = graph.node.create_client(GetScene, "/analyzer/get_scene")
    graph.until(client.service_is_ready, "get_scene")
    answer = client.call_async(GetScene.Request())
    graph.until(answer.done, "an answer of get_scene")
    return answer.result().success


def may_call(kind, name):
    """Whether a service of the node can be called, once get_scene can."""
    try:
        client = graph.node.create_client(kind, name)
    except RCLError:  # some middlewares refuse at once
        return False
    ask_for_scene()
    return client.service_is_ready()


def may_publish(kind, topic):
    """Whether the node subscribes to a publisher of this peer, once get_scene can be called."""
    try:
        publisher = graph.node.create_publisher(kind, topic, 1)
    except RCLError:
        return False
    ask_for_scene()
    return publisher.get_subscription_count() > 0


def node_names():
    return sorted(graph.node.get_node_names())


def parameter(name):
    request = GetParameters.Request(names=[name])
    return graph.call(GetParameters, "/analyzer/get_parameters", request).values[0].integer_value


def set_parameter(name, value):
    return graph.set_parameter("/analyzer", name, value).successful


def change_state(kind, request):
    return graph.call(kind, "/analyzer/change_state", request, again=False).success
