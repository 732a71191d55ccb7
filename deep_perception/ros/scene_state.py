"""Whether the latest scene of a camera shows what is in view now, and what is being worked on."""

from __future__ import annotations

import time
from dataclasses import dataclass

from builtin_interfaces.msg import Time

from deep_perception.regions import Scene
from deep_perception.reports.messages import Keyframe
from deep_perception.ros import messages
from deep_perception.ros.camera_pipeline import CameraPipeline
from deep_perception.stamps import NANOSECONDS
from deep_perception_msgs.msg import SceneState

# After this long without a frame, the camera is silent.
SILENT_S = 2.0


@dataclass(frozen=True, kw_only=True)
class Status:
    """A ``state`` of SceneState and why, an ``activity``, and when both began.

    Times are in seconds of ``time.monotonic``.
    """

    state: str
    reason: str
    since_s: float
    activity: str
    activity_since_s: float
    pending: int


def status_of(pipeline: CameraPipeline, *, is_enabled: bool) -> Status:
    """Return the status of a camera's latest scene. It does not look at an image."""
    state, reason, since_s = _state(pipeline, is_enabled=is_enabled)
    latest = pipeline.latest
    pending = 0
    if latest is not None:
        pending = sum(r.description.status == "pending" for r in latest[0].regions)
    activity, activity_since_s = SceneState.IDLE, pipeline.latest_s
    if pipeline.sweeping is not None:
        activity, activity_since_s = SceneState.SWEEPING, pipeline.sweeping.since_s
    elif pipeline.live.is_describing:
        activity, activity_since_s = SceneState.DESCRIBING, pipeline.swept_s
    return Status(
        state=state,
        reason=reason,
        since_s=since_s,
        activity=activity,
        activity_since_s=activity_since_s,
        pending=pending,
    )


def to_message(
    status: Status, camera: str, latest: tuple[Scene, Keyframe] | None, now_ns: int
) -> SceneState:
    """Return the status of a camera's latest scene; ``now_ns`` is the present ROS time."""
    message = SceneState(
        camera=camera,
        state=status.state,
        reason=status.reason,
        since=_to_ros_time(status.since_s, now_ns),
        activity=status.activity,
        activity_since=_to_ros_time(status.activity_since_s, now_ns),
        pending=status.pending,
    )
    if latest is not None:
        _, keyframe = latest
        message.header, message.keyframe = keyframe.header, keyframe.number
    return message


def _to_ros_time(monotonic_s: float, now_ns: int) -> Time:
    return messages.to_time(now_ns - round((time.monotonic() - monotonic_s) * NANOSECONDS))


def _state(pipeline: CameraPipeline, *, is_enabled: bool) -> tuple[str, str, float]:
    camera, sweeping = pipeline.camera, pipeline.sweeping
    if pipeline.latest is None:
        reason = "no image has been analysed yet"
        if sweeping is not None:
            seconds = time.monotonic() - sweeping.since_s
            return (
                SceneState.NO_SCENE,
                f"{reason}; one is being swept since {seconds:.1f} s",
                (sweeping.since_s),
            )
        if camera is not None and camera.received == 0:
            reason = f"{reason}; {camera.explain_silence()}"
        return SceneState.NO_SCENE, reason, pipeline.created_s
    if camera is None:
        return (
            SceneState.INACTIVE,
            "the node is not active: this is the last scene",
            (pipeline.latest_s),
        )
    if not is_enabled:
        return SceneState.DISABLED, "disabled: this is the last scene", pipeline.latest_s
    silent_s = camera.silent_s()
    if silent_s > SILENT_S:
        since_s = time.monotonic() - silent_s
        return (
            SceneState.CAMERA_SILENT,
            (f"no image for {silent_s:.0f} s: this is the last scene"),
            since_s,
        )
    if pipeline.view_changed_s is not None:
        return (
            SceneState.VIEW_CHANGED,
            (
                "the camera shows another view now; "
                + ("it is being swept" if sweeping is not None else "it is swept next")
            ),
            pipeline.view_changed_s,
        )
    return SceneState.LIVE, "", pipeline.latest_s
