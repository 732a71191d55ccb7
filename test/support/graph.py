"""A live graph for tests: the node in a process of its own, and a tester node beside it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image

ROOT = Path(__file__).parents[2]
# Discovery takes seconds on a loaded machine; a test that fails waits this long, no other does.
PATIENCE_S = 40.0
# Words that are used again: the embedded describer is too quick for that.
LASTING = {
    "python_path": str(Path(__file__).parents[1]),
    "describer.backend": "support.lasting_words:Lasting",
}
LATCHED = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class NodeProcess:
    """``python -m deep_perception.ros`` with parameters and remaps; its log is kept."""

    def __init__(self, log, *, remaps=(), python_path="", **parameters):
        arguments = ["--ros-args"]
        for remap in remaps:
            arguments += ["-r", remap]
        for name, value in parameters.items():
            text = str(value).lower() if isinstance(value, bool) else str(value)
            arguments += ["-p", f"{name}:={text}"]
        path = os.pathsep.join(filter(None, [python_path, os.environ.get("PYTHONPATH", "")]))
        self.log_path = log
        with log.open("w") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "deep_perception.ros", *arguments],
                cwd=ROOT,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"},
            )

    @property
    def log(self):
        return self.log_path.read_text()

    def memory_kb(self, kind="VmRSS"):
        """Of the process, as /proc has it."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split(f"{kind}:")[1].split()[0])

    def stop(self):
        """SIGINT, as Ctrl-C and launch do; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(timeout=PATIENCE_S)
        finally:
            self.process.kill()


class Graph:
    """A tester node: publishes, listens, calls."""

    def __init__(self, name="tester"):
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node(name, context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self._stamp = 1000

    def close(self):
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)

    def until(self, condition, what, patience=PATIENCE_S):
        """Spin until the condition holds; returns its value."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            value = condition()
            if value:
                return value
            self.executor.spin_once(timeout_sec=0.02)
        raise AssertionError(f"waited {patience} s for {what() if callable(what) else what}")

    def spin(self, seconds):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.executor.spin_once(timeout_sec=0.02)

    def listen(self, kind, topic, qos=10, *, matched=True):
        """Messages of a topic, as a list that grows."""
        received = []
        subscription = self.node.create_subscription(kind, topic, received.append, qos)
        if matched:
            self.until(
                lambda: self.node.count_publishers(subscription.topic_name), f"publisher of {topic}"
            )
        return received

    def publisher(self, kind, topic, qos=10, *, matched=True):
        publisher = self.node.create_publisher(kind, topic, qos)
        if matched:
            self.until(publisher.get_subscription_count, f"subscriber of {topic}")
        return publisher

    def call(self, kind, name, request, *, again=True):
        """The answer of a service.

        One that has not discovered the way back yet answers to nobody: it is asked again, unless
        asking twice is something else.
        """
        client = self.node.create_client(kind, name)
        self.until(client.service_is_ready, f"service {name}")
        self.spin(0.1)
        futures = [client.call_async(request)]
        asked = time.monotonic()

        def answered():
            nonlocal asked
            if again and time.monotonic() - asked > 8.0:
                futures.append(client.call_async(request))
                asked = time.monotonic()
            return next((future for future in futures if future.done()), None)

        future = self.until(answered, f"answer of {name}")
        self.node.destroy_client(client)
        return future.result()

    def set_parameter(self, node, name, value):
        from rcl_interfaces.srv import SetParameters

        request = SetParameters.Request(
            parameters=[Parameter(name, value=value).to_parameter_msg()]
        )
        return self.call(SetParameters, f"{node}/set_parameters", request).results[0]

    def set_parameters(self, node, values):
        """All of them, or none."""
        from rcl_interfaces.srv import SetParametersAtomically

        request = SetParametersAtomically.Request(
            parameters=[Parameter(name, value=each).to_parameter_msg() for name, each in values]
        )
        service = f"{node}/set_parameters_atomically"
        return self.call(SetParametersAtomically, service, request).result

    def stamp(self, message, frame_id="camera_optical_frame"):
        """A fresh stamp, after keyframes.max_interval_s: always worth a keyframe."""
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
            return next((each for each in received if each.header == sent.header), None)

        return self.until(find, what, patience)

    def analysed(self, publisher, received, message):
        """Publish a picture until an answer with its header comes back.

        Best effort may lose a picture, and an answer is lost while the node has not matched our
        subscription, so it is sent again with a fresh stamp, which the message then has.
        """
        for attempt in range(8):
            if attempt:
                self.stamp(message, message.header.frame_id)
            publisher.publish(message)
            try:
                return self.answer(received, message, patience=5.0)
            except AssertionError:
                continue
        raise AssertionError(f"no answer to {message.header}")


class Diagnostics:
    """What a node says in /diagnostics."""

    def __init__(self, graph, node):
        self._node = node
        self._messages = graph.listen(DiagnosticArray, "/diagnostics", 100)

    def last(self, name="input"):
        """The newest status of that name, or nothing yet."""
        for message in reversed(self._messages):
            for status in message.status:
                if status.hardware_id == self._node and status.name.endswith(f": {name}"):
                    return status
        return None

    def says(self, text, name="input"):
        status = self.last(name)
        return status is not None and text in status.message

    def values(self, name="input"):
        status = self.last(name)
        return {each.key: each.value for each in status.values} if status else {}
