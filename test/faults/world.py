"""What a campaign runs on: a node, a healthy camera, two others, a chat server, and the checks."""

from __future__ import annotations

import contextlib
import re
import signal
import time
from pathlib import Path

import rclpy

from deep_perception.settings.options import options
from deep_perception.untrusted.text import printable
from deep_perception_msgs.msg import DescribedRegion, DescribedRegionArray, SceneState
from deep_perception_msgs.srv import GetScene
from faults.hostile import MARKED
from support.graph import LATCHED, Diagnostics

NAMESPACE = "/faults"
CAMERAS = ("healthy", "front", "rear")
PARAMETERS = {
    "ros.cameras": ",".join(CAMERAS), "ros.diagnostics_period_s": 0.2, "ros.input_timeout_s": 1.0,
    "keyframes.mode": "interval", "keyframes.min_interval_s": 0.2,
    # Every scene asks the server, and no scene takes long.
    "identity.words_ttl_s": 0.0, "describer.cache_size": 0, "sweep.max_regions": 6,
    "points.grid_columns": 6, "points.grid_rows": 4,
    "describer.backend": "chat", "describer.region_timeout_s": 2.0,
}  # fmt: skip
RATE_HZ = 5
# How long a healthy camera may be without a new scene after a fault: many times what it takes.
PATIENCE_S = 60.0
# On an idle machine it is less than 2 s.
LONGEST_GAP_S = 20.0
END_WITHIN_S = 15.0
MORE_THREADS, MORE_DESCRIPTORS, MORE_MB, PEAK_MB = 25, 40, 700, 2000
LONGEST_LINE, MOST_LINES = 5000, 80
LINE = re.compile(r"\[(DEBUG|INFO|WARN|ERROR|FATAL)\] \[[\d.]+\] \[[^\]]+\]: ")
# What libraries of OpenCV and of the middleware write to the standard error; the words are theirs.
LIBRARY_LINE = re.compile(
    r"Corrupt JPEG data|Warning: |Premature end of JPEG|libpng |\[ WARN:|sequence size "
)
STATUSES = {
    DescribedRegion.STATUS_DESCRIBED, DescribedRegion.STATUS_REUSED,
    DescribedRegion.STATUS_PENDING, DescribedRegion.STATUS_FAILED,
}  # fmt: skip


class World:
    """The node and everything around it. ``problems`` are what must not happen, and did."""

    namespace, name = NAMESPACE, f"{NAMESPACE}/analyzer"
    cameras, faulty = CAMERAS, CAMERAS[1:]

    def __init__(self, *, graph, start_node, start_actor, server):
        self.graph, self.server = graph, server
        self.start_actor, self._start_node = start_actor, start_node
        self.problems = []
        parameters = {**PARAMETERS, "describer.url": server.url}
        self._parameters = parameters
        self.settings = {each.name: parameters.get(each.name, each.default) for each in options()}
        self.scenes = {camera: [] for camera in CAMERAS}
        self.states = {}
        self.described, self.longest_gap_s, self._scene_s = 0, 0.0, time.monotonic()
        for camera in CAMERAS:
            self._listen(camera)
        self.diagnostics = Diagnostics(graph, self.name)
        start_actor("camera", f"{NAMESPACE}/healthy/image", RATE_HZ)
        self.node = self._log_read = None
        self._start()
        self.at_rest = self.figures()

    def _start(self):
        self.node = self._start_node(remaps=[f"__ns:={NAMESPACE}"], **self._parameters)
        self._log_read = 0
        self.healthy_again()
        self.graph.until(lambda: self.described, "a description of the chat server", PATIENCE_S)

    def restart(self):
        """End the node, which must succeed, and start another one."""
        self.end(signal.SIGINT)
        for camera in CAMERAS:
            self.scenes[camera].clear()
        self.graph.diagnostics.clear()
        self.states.clear()
        self._start()

    def end(self, *signals):
        """End the node by signals; it ends soon, and well."""
        started_s = time.monotonic()
        for number in signals:
            self.node.send_signal(number)
        code, took_s = self.node.wait(PATIENCE_S), time.monotonic() - started_s
        if code != 0:
            self.problem(f"the node ended with {code}")
        if took_s > END_WITHIN_S:
            self.problem(f"the node took {took_s:.1f} s to end")
        self.check_log()

    # -- what a fault needs -----------------------------------------------------------------------

    def spin_until(self, condition, at_most_s):
        """Wait for what need not come."""
        deadline = time.monotonic() + at_most_s
        while not condition() and time.monotonic() < deadline:
            self.graph.spin(0.02)

    @contextlib.contextmanager
    def stranger(self):
        """A node in a context of its own: one context has one type for each topic."""
        context = rclpy.Context()
        rclpy.init(context=context)
        node = rclpy.create_node("stranger", context=context)
        try:
            yield node
        finally:
            node.destroy_node()
            rclpy.shutdown(context=context)

    @contextlib.contextmanager
    def publisher(self, kind, topic, qos, node=None):
        """A publisher; the node need not subscribe to it."""
        node = node or self.graph.node
        publisher = node.create_publisher(kind, topic, qos)
        # Not an error of the node if it never does: the type may be wrong.
        self.spin_until(publisher.get_subscription_count, 1.0)
        try:
            yield publisher
        finally:
            node.destroy_publisher(publisher)

    def call(self, kind, name, request, *, again=True):
        return self.graph.call(kind, f"{self.name}/{name}", request, again=again)

    # -- checks -----------------------------------------------------------------------------------

    def problem(self, text):
        if text not in self.problems:
            self.problems.append(text)

    def take_problems(self):
        """Return the problems since the last call."""
        problems, self.problems = self.problems, []
        return problems

    def check_shown(self, shown, what, longest=LONGEST_LINE):
        """A text that a person reads is short, and changes neither a terminal nor other lines."""
        if printable(shown, 10**9) != shown:
            self.problem(f"{what} has characters that are not for showing: {shown[:300]!r}")
        if len(shown) > longest:
            self.problem(f"{what} has {len(shown)} characters: {shown[:300]!r}")

    def _listen(self, camera):
        def on_scene(message):
            if camera == "healthy":
                now_s = time.monotonic()
                self.longest_gap_s = max(self.longest_gap_s, now_s - self._scene_s)
                self._scene_s = now_s
            self.scenes[camera].append(message)
            del self.scenes[camera][:-20]
            for region in message.regions:
                self._check_region(region, f"a region of {camera}")
            for text in (message.segmenter, message.segmenter_model, *message.warnings):
                self.check_shown(text, "a text of a scene")

        def on_region(message):
            self._check_region(message, f"an update of {camera}")

        def on_state(message):
            self.states[camera] = message
            self.check_shown(message.reason, "the reason of a state")

        for kind, topic, callback, qos in (
            (DescribedRegionArray, "regions", on_scene, LATCHED),
            (DescribedRegion, "region_updates", on_region, 200),
            (SceneState, "scene_state", on_state, LATCHED),
        ):
            self.graph.node.create_subscription(
                kind, f"{self.name}/{camera}/{topic}", callback, qos
            )

    def _check_region(self, region, what):
        words = (region.label, region.description, *(a.value for a in region.attributes))
        if region.status not in STATUSES:
            self.problem(f"{what} has the status {region.status!r}")
        if any(MARKED in word for word in words):
            self.problem(f"{what} has an error as words: {words}")
        if region.status in (region.STATUS_FAILED, region.STATUS_PENDING) and any(words):
            self.problem(f"{what} is {region.status} and has words: {words}")
        if bool(region.error) != (region.status == region.STATUS_FAILED):
            self.problem(f"{what} is {region.status} with the error {region.error!r}")
        texts = (region.error, region.model, region.describer, region.prompt_id)
        for text in (*words, *(a.key for a in region.attributes), *texts):
            self.check_shown(text, f"a text of {what}")
        self.described += region.status == region.STATUS_DESCRIBED and region.describer == "chat"

    def healthy_again(self):
        """Wait for a scene of a frame that the healthy camera makes from now on; its seconds."""
        asked_s, started_s = time.time(), time.monotonic()

        def is_newer():
            self._check_running()
            newest = self.scenes["healthy"][-1:]
            return newest and seconds(newest[0].header.stamp) > asked_s

        self.graph.until(is_newer, lambda: self.report("a scene of the healthy camera"), PATIENCE_S)
        return time.monotonic() - started_s

    def _check_running(self):
        if not self.node.is_running:
            raise AssertionError(self.report("that the node goes on; it ended"))

    def report(self, awaited):
        states = {camera: (state.state, state.reason) for camera, state in self.states.items()}
        told = [self.diagnostics.last(name) for name in ("state", "healthy input",
                                                         "healthy analysis")]  # fmt: skip
        messages = [status and status.message for status in told]
        return f"{awaited}; states {states}; diagnostics {messages}; log {self.node.log[-3000:]}"

    def check_log(self):
        """Check the lines that are new."""
        log = Path(self.node.log_path).read_text(errors="replace")
        lines = log[self._log_read :].splitlines()
        self._log_read = len(log)
        for line in lines:
            self.check_shown(line, "a line of the log")
            if not LINE.match(line) and not LIBRARY_LINE.match(line):
                self.problem(f"not a line of the log: {line[:300]!r}")
        if len(lines) > MOST_LINES:
            self.problem(f"{len(lines)} lines of the log for one fault: {lines[:5]}")

    def check_diagnostics(self):
        for status in [each for array in self.diagnostics.arrays() for each in array.status]:
            if not status.message:
                self.problem(f"diagnostics without a message: {status.name}")
            for text in (status.name, status.message, *(pair.value for pair in status.values)):
                self.check_shown(text, f"the diagnostics {status.name[:60]!r}")
        self.graph.diagnostics.clear()

    def settle(self):
        """Wait for the truth about every camera, and for the threads and files to end."""
        until = self.graph.until
        until(
            lambda: (
                self.states["healthy"].state == SceneState.LIVE
                and self.diagnostics.reports("images arrive", "healthy input")
                and self.diagnostics.reports("active", "state")
            ),
            lambda: self.report("that the healthy camera is live"),
            PATIENCE_S,
        )
        for camera in self.faulty:
            # Nobody publishes its images any more.
            until(
                lambda camera=camera: self.states[camera].state != SceneState.LIVE,
                lambda camera=camera: self.report(f"that {camera} is not live"),
                PATIENCE_S,
            )
            until(
                lambda camera=camera: self._agrees(camera),
                lambda camera=camera: self.report(f"get_scene and the state of {camera} to agree"),
                PATIENCE_S,
            )
        until(self._is_at_rest, lambda: f"{self.figures()}; at rest {self.at_rest}", PATIENCE_S)

    def _agrees(self, camera):
        answer = self.call(GetScene, "get_scene", GetScene.Request(camera=camera))
        self.check_shown(re.sub(r"\\.", "", answer.json), "the JSON of get_scene", 10**6)
        state = self.states[camera]
        return (answer.state.state, answer.state.keyframe) == (state.state, state.keyframe)

    def figures(self):
        """Threads, file descriptors and resident MB of the node, and the most MB that it had."""
        process = Path(f"/proc/{self.node.pid}")
        return {
            "threads": sum(1 for _ in (process / "task").iterdir()),
            "descriptors": sum(1 for _ in (process / "fd").iterdir()),
            "MB": self.node.memory_kb() // 1024,
            "peak MB": self.node.memory_kb("VmHWM") // 1024,
        }

    def _is_at_rest(self):
        now, then = self.figures(), self.at_rest
        return (
            now["threads"] <= then["threads"] + MORE_THREADS
            and now["descriptors"] <= then["descriptors"] + MORE_DESCRIPTORS
            and now["MB"] <= then["MB"] + MORE_MB
            and now["peak MB"] <= PEAK_MB
        )


def seconds(stamp):
    return stamp.sec + stamp.nanosec / 1e9
