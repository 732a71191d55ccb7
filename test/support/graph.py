"""A live graph for tests: the node in a process of its own, and a tester node beside it.

All waits are for events. How long a test may wait for one is PATIENCE_S: no test that passes takes
longer on a busy machine than on an idle one because of it.
"""

from __future__ import annotations

import functools
import time
from pathlib import Path

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.srv import GetParameters, SetParameters, SetParametersAtomically
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image

from support.node_process import PATIENCE_S, NodeProcess

# A frame that was lost on the way is sent again after this long.
RESEND_S = 5.0
UNKNOWN = "_NODE_NAME_UNKNOWN_"
# A describer whose descriptions are reused: the embedded one is too quick for that.
LASTING = {
    "python_path": str(Path(__file__).parents[1]),
    "describer.backend": "support.lasting_words:Lasting",
}
# For all tests but those about missing images: a report of them would depend on the machine.
UNWATCHED = {"ros.input_timeout_s": 600.0}
LATCHED = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)

__all__ = ["LASTING", "LATCHED", "PATIENCE_S", "UNWATCHED", "Diagnostics", "Graph", "NodeProcess"]


class Graph:
    """A tester node: publishes, subscribes, calls services."""

    def __init__(self, name="tester"):
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node(name, context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self._clients = {}
        self._stamp = 1000

    def close(self):
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)

    def until(self, condition, what, patience=PATIENCE_S):
        """Spin until the condition holds; returns its value."""
        deadline = time.monotonic() + patience
        while True:
            value = condition()
            if value:
                return value
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"waited {patience} s for {what() if callable(what) else what}"
                )
            self.executor.spin_once(timeout_sec=0.02)

    def spin(self, seconds):
        """Spin for a time: the pause between two frames of a camera, never a wait."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.executor.spin_once(timeout_sec=left)

    # -- topics ---------------------------------------------------------------------------------

    @functools.cached_property
    def diagnostics(self):
        """All messages of /diagnostics since the first use of this list."""
        return self.listen(DiagnosticArray, "/diagnostics", 100, matched=False)

    def listen(self, kind, topic, qos=10, *, matched=True):
        """Messages of a topic, as a list that grows.

        ``matched``: wait until the node that publishes the topic knows this subscription, so that
        no message is lost.
        """
        received = []
        subscription = self.node.create_subscription(kind, topic, received.append, qos)
        if matched:
            for node in self.until(
                lambda: self._publishing_nodes(subscription.topic_name), f"a publisher of {topic}"
            ):
                self._be_known_to(node)
        return received

    def _publishing_nodes(self, topic):
        """The other nodes that publish a topic, as far as their names are known yet."""
        infos = self.node.get_publishers_info_by_topic(topic)
        names = {f"{info.node_namespace.rstrip('/')}/{info.node_name}" for info in infos}
        own = self.node.get_fully_qualified_name()
        return {own} if names == {own} else {name for name in names if UNKNOWN not in name} - {own}

    def _be_known_to(self, node):
        """Wait until another node knows all subscriptions and clients that this one has so far.

        The middleware announces the readers of a node reliably and in order. So once the answer of
        a client has come that was made after them, all of them are known.
        """
        if node != self.node.get_fully_qualified_name():
            client = self.node.create_client(GetParameters, f"{node}/get_parameters")
            self._answer_of(client, GetParameters.Request(), again=True)
            self.node.destroy_client(client)

    def publisher(self, kind, topic, qos=10, *, matched=True):
        publisher = self.node.create_publisher(kind, topic, qos)
        if matched:
            self.until(publisher.get_subscription_count, f"a subscription of {topic}")
        return publisher

    def publish_until(
        self, publisher, make_message, condition, what, *, period_s=0.1, patience=PATIENCE_S
    ):
        """Publish message after message until the condition holds; returns its value.

        None of them is certain to arrive: the node's subscription is best effort.
        """
        due = 0.0

        def met():
            nonlocal due
            value = condition()
            if not value and time.monotonic() >= due:
                publisher.publish(make_message())
                due = time.monotonic() + period_s
            return value

        return self.until(met, what, patience)

    # -- services -------------------------------------------------------------------------------

    def prepare(self, kind, name):
        """The client of a service, once the node that serves it knows it; one for each name."""
        client = self._clients.get(name)
        if client is None:
            client = self._clients[name] = self.node.create_client(kind, name)
            self.until(client.service_is_ready, f"service {name}")
            self._be_known_to(name.rsplit("/", 1)[0])
        return client

    def call(self, kind, name, request, *, again=True):
        """The answer of a service.

        An answer may be lost: the service is called again, unless that is something else than one
        call (``again=False``).
        """
        return self._answer_of(self.prepare(kind, name), request, again)

    def _answer_of(self, client, request, again):
        self.until(client.service_is_ready, f"service {client.srv_name}")
        futures, asked_s = [client.call_async(request)], time.monotonic()

        def answered():
            nonlocal asked_s
            if again and time.monotonic() - asked_s > 0.5 * len(futures):
                futures.append(client.call_async(request))
                asked_s = time.monotonic()
            return next((future for future in futures if future.done()), None)

        return self.until(answered, f"the answer of {client.srv_name}").result()

    def set_parameter(self, node, name, value):
        request = SetParameters.Request(
            parameters=[Parameter(name, value=value).to_parameter_msg()]
        )
        return self.call(SetParameters, f"{node}/set_parameters", request).results[0]

    def set_parameters(self, node, values):
        """Set all of them, or none."""
        request = SetParametersAtomically.Request(
            parameters=[Parameter(name, value=value).to_parameter_msg() for name, value in values]
        )
        service = f"{node}/set_parameters_atomically"
        return self.call(SetParametersAtomically, service, request).result

    # -- images ---------------------------------------------------------------------------------

    def stamp(self, message, frame_id="camera_optical_frame"):
        """A new stamp, after keyframes.max_interval_s: always worth a keyframe."""
        self._stamp += 40
        message.header.stamp.sec = self._stamp
        message.header.stamp.nanosec = 123_456_789
        message.header.frame_id = frame_id
        return message

    def image(self, pixels, encoding="bgr8", **fields):
        """An Image of rows of pixels, stamped."""
        rows = np.ascontiguousarray(pixels)
        message = Image(
            height=len(rows), width=rows.shape[1], encoding=encoding, step=rows[0].nbytes
        )
        message.data.frombytes(rows.tobytes())
        for name, value in fields.items():
            setattr(message, name, value)
        return self.stamp(message)

    def answer(self, received, sent, what="answer", patience=PATIENCE_S):
        """The message of a list that has the header of what was sent."""

        def find():
            return next((message for message in received if message.header == sent.header), None)

        return self.until(find, what, patience)

    def analysed(self, publisher, received, message):
        """Publish an image until an answer with its header comes back.

        The way to the node is best effort, so the image may be lost: it is sent again with a new
        stamp. The message then has the header of the answer.
        """
        sent, due = [], 0.0

        def answer():
            nonlocal due
            for header in sent:
                found = next((message for message in received if message.header == header), None)
                if found is not None:
                    return found
            if time.monotonic() >= due:
                if sent:
                    self.stamp(message, message.header.frame_id)
                publisher.publish(message)
                sent.append(copy_of(message.header))
                due = time.monotonic() + RESEND_S
            return None

        found = self.until(answer, lambda: f"an answer to one of {sent}")
        message.header = found.header
        return found


def copy_of(header):
    copy = type(header)(frame_id=header.frame_id)
    copy.stamp.sec, copy.stamp.nanosec = header.stamp.sec, header.stamp.nanosec
    return copy


class Diagnostics:
    """What one node reports in /diagnostics."""

    def __init__(self, graph, node):
        self._graph = graph
        self._node = node
        graph.diagnostics  # noqa: B018  (subscribes)

    def arrays(self):
        """The messages of the node so far."""
        return [
            message
            for message in self._graph.diagnostics
            if any(status.hardware_id == self._node for status in message.status)
        ]

    def last(self, name="input"):
        """The newest status of that name, or None."""
        for message in reversed(self._graph.diagnostics):
            for status in message.status:
                if status.hardware_id == self._node and status.name.endswith(f": {name}"):
                    return status
        return None

    def reports(self, text, name="input"):
        status = self.last(name)
        return status is not None and text in status.message

    def values(self, name="input"):
        status = self.last(name)
        return {pair.key: pair.value for pair in status.values} if status else {}

    def count(self, key, name="input"):
        """A number of the newest status; 0 before the first one."""
        return int(self.values(name).get(key, 0))

    def wait_for_new(self, count=1):
        """Wait for messages that the node makes from now on (it must not use simulated time)."""
        now_s = time.time()

        def new():
            stamps = [array.header.stamp for array in self.arrays()]
            return sum(stamp.sec + stamp.nanosec / 1e9 > now_s for stamp in stamps) >= count

        self._graph.until(new, f"{count} new diagnostics of {self._node}")
