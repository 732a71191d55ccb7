"""Whether the latest scene of a camera shows what is in view now, and what is being worked on."""

from __future__ import annotations

import time
from dataclasses import dataclass

from builtin_interfaces.msg import Time

from deep_perception.redaction.output import clean_line
from deep_perception.regions import Scene
from deep_perception.reports.messages import Keyframe
from deep_perception.ros import messages
from deep_perception.ros.camera_pipeline import CameraPipeline
from deep_perception.stamps import NANOSECONDS
from deep_perception_msgs.msg import SceneState

# After this long without a frame that shows the view of the scene, the scene is not live.
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
    state, reason, began_s = _state(pipeline, is_enabled=is_enabled)
    latest = pipeline.live.latest
    pending = 0
    if latest is not None:
        pending = sum(r.description.status == "pending" for r in latest.scene.regions)
    activity, activity_since_s = SceneState.IDLE, pipeline.latest_s
    if pipeline.sweeping is not None:
        activity, activity_since_s = SceneState.SWEEPING, pipeline.sweeping.since_s
    elif latest is not None and pipeline.live.is_describing:
        activity, activity_since_s = SceneState.DESCRIBING, latest.swept_s
    return Status(
        state=state,
        reason=clean_line(reason),
        since_s=pipeline.state_since(state, began_s),
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
    passed_ns = round((time.monotonic() - monotonic_s) * NANOSECONDS)
    # Simulated time may have begun after that.
    return messages.to_time(max(0, now_ns - passed_ns))


def _state(pipeline: CameraPipeline, *, is_enabled: bool) -> tuple[str, str, float]:
    latest = pipeline.live.latest
    if latest is None:
        return _without_scene(pipeline)
    seen_s = pipeline.confirmed_s
    camera = pipeline.camera
    if camera is None:
        return SceneState.INACTIVE, "the node is not active: this is the last scene", seen_s
    if not is_enabled:
        return SceneState.DISABLED, "disabled: this is the last scene", seen_s
    changed_s = pipeline.view_changed_s
    if changed_s is not None:
        reason = "the camera shows another view now"
        if pipeline.sweeping is not None:
            reason = f"{reason}; it is being swept"
        elif pipeline.analysis_error:
            reason = f"{reason}; {pipeline.analysis_error}"
        return SceneState.VIEW_CHANGED, reason, changed_s
    # A scene is live while a frame that came lately shows its view; that one came is too little.
    unseen_s = time.monotonic() - seen_s
    if unseen_s <= SILENT_S:
        return SceneState.LIVE, "", max(latest.swept_s, seen_s)
    if pipeline.input_error and camera.silent_s() <= SILENT_S:
        reason = f"no image can be read for {unseen_s:.0f} s: {pipeline.input_error}"
        return SceneState.UNREADABLE, reason, seen_s
    return (
        SceneState.CAMERA_SILENT, f"no image for {unseen_s:.0f} s: this is the last scene", seen_s,
    )  # fmt: skip


def _without_scene(pipeline: CameraPipeline) -> tuple[str, str, float]:
    reason, camera, since_s = "no image has been analysed yet", pipeline.camera, pipeline.created_s
    if pipeline.sweeping is not None:
        since_s = pipeline.sweeping.since_s
        reason = f"{reason}; the first is being swept for {time.monotonic() - since_s:.1f} s"
    elif pipeline.analysis_error or pipeline.input_error:
        reason = f"{reason}; {pipeline.analysis_error or pipeline.input_error}"
    elif camera is not None and camera.received == 0:
        reason = f"{reason}; {camera.explain_silence()}"
    return SceneState.NO_SCENE, reason, since_s
