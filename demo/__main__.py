"""The demo: record, play into the node over DDS, receive, check, and print the results."""

from __future__ import annotations

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from deep_perception import images
from demo import recording
from demo.receive import IDLE_WITHIN_S, Findings

ROOT = Path(__file__).parents[1]
OUTPUT = ROOT / "demo_output"
# Keyframes at even intervals, so that the overview has one of each photograph.
KEYFRAMES = ("-p", "keyframes.min_interval_s:=0.5", "-p", "keyframes.mode:=interval")
NODE_ARGUMENTS = ("--ros-args", "-r", f"image:={recording.TOPIC}", *KEYFRAMES)


def main() -> int:
    """Run the demo; returns 0 if all messages were received and right."""
    started = time.monotonic()
    shutil.rmtree(OUTPUT, ignore_errors=True)
    OUTPUT.mkdir()
    _print("[1/3] recording a camera that moves over photographs")
    photographs = sorted((ROOT / "test" / "data").glob("*.jpg"))
    frames = recording.write(OUTPUT / "recording", photographs)
    recorded_s = time.monotonic() - started
    _print(f"[2/3] playing {frames / recording.RATE_HZ:.0f} s into the node over DDS")
    with (OUTPUT / "node.log").open("w") as log:
        node = _start("deep_perception.ros", *NODE_ARGUMENTS, stderr=log)
        receiver = _start("demo.receive", str(OUTPUT), stdout=subprocess.PIPE)
        # Playing starts once the node and the receiver have subscribed.
        played = _start("demo.play", str(OUTPUT / "recording"), "2").wait()
        if played != 0:
            node.kill()
            receiver.kill()
            _print(f"nothing was played; the node's log: {OUTPUT / 'node.log'}")
            return 1
        findings = _stop(receiver)
        node_rc = _stop_node(node)
    _print("[3/3] checking what came out")
    _overview(findings["times_s"], len(photographs))
    total_s = time.monotonic() - started
    problems = _problems(findings, node_rc)
    _report(findings, problems, frames, recorded_s, total_s)
    return 1 if problems else 0


def _start(module: str, *arguments: str, **streams: Any) -> subprocess.Popen[str]:
    # The demo has a domain of its own, so that it receives nothing of a robot on this machine.
    environment = {**os.environ, "ROS_DOMAIN_ID": str(50 + os.getpid() % 50)}
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.Popen(command, cwd=ROOT, text=True, env=environment, **streams)


def _stop(receiver: subprocess.Popen[str]) -> dict[str, Any]:
    receiver.send_signal(signal.SIGINT)
    output, _ = receiver.communicate(timeout=2 * IDLE_WITHIN_S)
    try:
        return dict(json.loads(output))
    except json.JSONDecodeError:
        problem = f"the receiver ended with exit code {receiver.returncode}"
        return {**vars(Findings()), "problems": [problem]}


def _stop_node(node: subprocess.Popen[str]) -> int:
    node.send_signal(signal.SIGINT)
    return node.wait(timeout=IDLE_WITHIN_S)


def _problems(findings: dict[str, Any], node_rc: int) -> list[str]:
    problems = list(findings["problems"])
    if node_rc != 0:
        problems.append(f"the node ended with exit code {node_rc}")
    counts = [findings[key] for key in ("detections", "scenes", "annotated")]
    if min(counts) == 0 or len(set(counts)) != 1:
        problems.append(f"detections, scenes and annotated images differ in number: {counts}")
    if findings["updates"] != findings["regions"]:
        problems.append(f"{findings['updates']} updates of {findings['regions']} regions")
    if findings["described"] != findings["regions"]:
        problems.append(
            f"{findings['regions'] - findings['described']} regions have no description"
        )
    return problems


def _overview(times_s: Sequence[float], photographs: int) -> None:
    """Write one annotated image of each photograph, side by side."""
    paths = sorted((OUTPUT / "images").glob("keyframe_*.png"))
    if not paths:
        return
    middles_s = [(number + 0.5) * recording.SECONDS_PER_PHOTOGRAPH for number in range(photographs)]
    chosen = [
        min(zip(times_s, paths, strict=True), key=lambda image: abs(image[0] - middle_s))[1]
        for middle_s in middles_s
    ]
    tiles = [images.shrink(images.load(path), 720, 540) for path in chosen]
    rows = [np.hstack(tiles[first : first + 2]) for first in range(0, len(tiles) - 1, 2)]
    cv2.imwrite(str(OUTPUT / "overview.png"), np.vstack(rows))


def _report(
    findings: dict[str, Any],
    problems: list[str],
    frames: int,
    recorded_s: float,
    total_s: float,
) -> None:
    latencies = sorted(findings["latencies_s"]) or [0.0]
    coverage = statistics.mean(findings["coverages"] or [0.0])
    scenes = max(1, findings["scenes"])
    largest = findings["largest"] or ["none"]
    checks = "all checks passed" if not problems else f"{len(problems)} PROBLEMS"
    for line in (
        f"recording   {frames} frames {recording.WIDTH}x{recording.HEIGHT} at {recording.RATE_HZ} "
        f"Hz, written in {recorded_s:.1f} s",
        f"received    {findings['frames']} camera frames, {findings['detections']} detection "
        f"arrays, {findings['annotated']} annotated images",
        f"regions     {findings['regions'] / scenes:.0f} per scene, {100 * coverage:.0f} % of the "
        f"frame, {findings['described']} of {findings['regions']} described",
        f"latency     camera frame -> detections: median {statistics.median(latencies):.2f} s, "
        f"worst {latencies[-1]:.2f} s",
        f"largest     first scene: {largest[0]}",
        f"largest     last scene:  {largest[-1]}",
        f"checks      {checks} (headers, bounding boxes, masks, areas, descriptions)",
        f"images      {OUTPUT}/overview.png and {OUTPUT}/images/",
        f"reports     {OUTPUT}/texts/   messages as a bag: {OUTPUT}/messages/",
        f"time        {total_s:.0f} s",
        *problems[:10],
    ):
        _print(line)


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
