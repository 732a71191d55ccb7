"""Half an hour of two cameras and a chat server that often fails: memory, threads, descriptors.

Not one of the benchmarks that run without a name: ``make bench BENCH=soak_rss``. ``ours`` is the
median memory of the last two minutes and ``baseline`` that of the two minutes after the first five,
in which everything is loaded and the caches fill. ``SOAK_MINUTES=8`` is the shortest trial.

Shared memory is counted apart: Fast DDS has a segment of fixed size (137 MB with the profile of the
package) and touches the last of its pages after twenty minutes.
"""

from __future__ import annotations

import json
import os
import random
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import rclpy
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image

from benchmarks.harness import Measurement
from deep_perception.ros import messages
from deep_perception_msgs.msg import DescribedRegionArray
from synthetic.recordings import scenes

MINUTES, WARM_MINUTES, COMPARED_MINUTES = 30.0, 5.0, 2.0
RATE_HZ, WIDTH, HEIGHT = 5.0, 320, 240
# Another picture after so many frames; the cameras differ, so that they are not busy together.
CUT_EVERY = {"front": 70, "rear": 110}
PARAMETERS = {
    "ros.cameras": "front,rear", "describer.backend": "chat", "describer.region_timeout_s": 5.0,
    "keyframes.min_interval_s": 0.5,
    # Full long before the first five minutes are over.
    "describer.cache_size": 500, "identity.words_ttl_s": 60.0,
}  # fmt: skip
MODEL, SEED = "soak-vl", 13
# Of so many answers, and an outage of all of them for some seconds now and then.
GOOD_OF_100, OUTAGE_S, OUTAGE_EVERY_S = 85, 20.0, 150.0


class SoakMeasurement(Measurement):
    """Further figures: the slope of the memory, and counts after five minutes and at the end.

    ``shared_mb`` is the shared memory after five minutes and at the end.
    """

    slope_mb_per_h: float
    shared_mb: tuple[float, float]
    minutes: float
    scenes: int
    threads: tuple[int, int]
    descriptors: tuple[int, int]


class Sample(NamedTuple):
    """The node at a time: seconds since the start, memory, threads, file descriptors.

    ``rss_kb`` is the resident memory in kB but the shared memory, which is ``shared_kb``.
    """

    at_s: float
    rss_kb: int
    shared_kb: int
    threads: int
    descriptors: int


def run() -> SoakMeasurement:
    """Measure megabytes of resident memory of the node."""
    seconds = 60 * float(os.environ.get("SOAK_MINUTES", MINUTES))
    with TemporaryDirectory() as folder, _failing_server() as url:
        log = Path(folder) / "log.txt"
        with log.open("w") as stream:
            samples, received = _soak(url, seconds, stream.fileno())
        if "Traceback" in log.read_text():
            raise AssertionError(log.read_text())
    warm_s, compared_s = 60 * WARM_MINUTES, 60 * COMPARED_MINUTES
    warm = [each for each in samples if each.at_s >= warm_s]
    before = [each for each in warm if each.at_s < warm_s + compared_s]
    after = [each for each in warm if each.at_s >= seconds - compared_s]
    slope = np.polyfit([each.at_s for each in warm], [each.rss_kb for each in warm], 1)[0]
    baseline, ours = (_median_mb(part) for part in (before, after))
    return {
        "name": "soak_rss",
        "value": ours / baseline,
        "unit": "MB",
        "baseline": baseline,
        "ours": ours,
        "runs": 1,
        "slope_mb_per_h": float(slope) * 3600 / 1024,
        "shared_mb": (before[0].shared_kb / 1024, after[-1].shared_kb / 1024),
        "minutes": seconds / 60,
        "scenes": received,
        "threads": (max(each.threads for each in before), max(each.threads for each in after)),
        "descriptors": (
            max(each.descriptors for each in before), max(each.descriptors for each in after)
        ),
    }  # fmt: skip


def _median_mb(samples: list[Sample]) -> float:
    return statistics.median(each.rss_kb for each in samples) / 1024


def _soak(url: str, seconds: float, log: int) -> tuple[list[Sample], int]:
    """Return what was measured each second, and the number of scenes."""
    rclpy.init()
    node = rclpy.create_node("soak")
    received = [0]

    def on_scene(message: DescribedRegionArray) -> None:
        received[0] += 1

    for name in CUT_EVERY:
        node.create_subscription(DescribedRegionArray, f"/analyzer/{name}/regions", on_scene, 10)
    publishers = {
        name: node.create_publisher(Image, f"/{name}/image", qos_profile_sensor_data)
        for name in CUT_EVERY
    }
    views = {
        name: scenes(10**9, width=WIDTH, height=HEIGHT, cut_every=each)
        for name, each in CUT_EVERY.items()
    }
    process = _start_node(url, log)
    samples: list[Sample] = []
    started_s = time.monotonic()
    try:
        for number in count():
            while (left_s := started_s + number / RATE_HZ - time.monotonic()) > 0:
                rclpy.spin_once(node, timeout_sec=left_s)
            for name, publisher in publishers.items():
                message = messages.to_image(next(views[name]), Image().header)
                message.header.stamp = node.get_clock().now().to_msg()
                publisher.publish(message)
            if number % RATE_HZ == 0:
                samples.append(_sample(process.pid, time.monotonic() - started_s))
                _show(samples[-1], received[0])
            if time.monotonic() - started_s > seconds:
                break
            if process.poll() is not None:
                raise AssertionError(f"the node ended with {process.returncode}")
        process.send_signal(signal.SIGINT)
        if process.wait(timeout=30):
            raise AssertionError(f"the node ended with {process.returncode}")
    finally:
        process.kill()
        process.wait()
        node.destroy_node()
        rclpy.shutdown()
    return samples, received[0]


def _start_node(url: str, log: int) -> subprocess.Popen[bytes]:
    parameters = {**PARAMETERS, "describer.url": url}
    given = [part for name, value in parameters.items() for part in ("-p", f"{name}:={value}")]
    return subprocess.Popen(
        [sys.executable, "-m", "deep_perception.ros", "--ros-args", *given], stdout=log, stderr=log
    )


def _sample(pid: int, at_s: float) -> Sample:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    status = {key: value.split()[0] for key, _, value in (line.partition(":") for line in lines)
              if key in ("VmRSS", "RssShmem", "Threads")}  # fmt: skip
    descriptors = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    shared_kb = int(status["RssShmem"])
    rss_kb = int(status["VmRSS"]) - shared_kb
    return Sample(at_s, rss_kb, shared_kb, int(status["Threads"]), descriptors)


def _show(sample: Sample, received: int) -> None:
    if round(sample.at_s) % 60 == 0:
        sys.stdout.write(
            f"  {sample.at_s / 60:4.1f} min: {sample.rss_kb / 1024:.1f} MB, and "
            f"{sample.shared_kb / 1024:.1f} MB shared, {sample.threads} threads, "
            f"{sample.descriptors} descriptors, {received} scenes\n"
        )
        sys.stdout.flush()


# -- the server -----------------------------------------------------------------------------------


@contextmanager
def _failing_server() -> Iterator[str]:
    """Run a server in a thread, and yield its address."""
    server = _Server(("127.0.0.1", 0), _Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()
    server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a client that did not wait for a late answer."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    chance = random.Random(SEED)
    started_s = time.monotonic()

    def do_GET(self) -> None:
        instances = [{"id": MODEL, "config": {"parallel": 4}}]
        model = {"type": "llm", "key": MODEL, "capabilities": {"vision": True}}
        self._reply(200, json.dumps({"models": [{**model, "loaded_instances": instances}]}))

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        passed_s = time.monotonic() - self.started_s
        if passed_s % OUTAGE_EVERY_S > OUTAGE_EVERY_S - OUTAGE_S:
            self.drop()
        elif self.chance.randrange(100) < GOOD_OF_100:
            self._reply(200, self._answer())
        else:
            self.chance.choice(FAILURES)(self)

    def _answer(self) -> str:
        # No two regions have the same words: what is kept of words has to have an end.
        number = self.chance.randrange(10**9)
        words = {"label": f"cup {number}", "caption": f"A cup with the number {number}."}
        message = {"role": "assistant", "content": json.dumps(words)}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return json.dumps({"object": "chat.completion", "model": MODEL, "choices": [choice]})

    def drop(self) -> None:
        self.close_connection = True
        self.connection.close()

    def cut(self) -> None:
        self.close_connection = True
        self._reply(200, self._answer()[:60], length=500)

    def late(self) -> None:
        time.sleep(2.0)
        self._reply(200, self._answer())

    def busy(self) -> None:
        self._reply(self.chance.choice((429, 500, 502, 503)), '{"error": "busy"}')

    def garbage(self) -> None:
        self._reply(200, "<html>no answer</html>" * self.chance.randrange(1, 2000))

    def _reply(self, status: int, text: str, length: int = 0) -> None:
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(length or len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


FAILURES = (_Handler.drop, _Handler.cut, _Handler.late, _Handler.busy, _Handler.garbage)
