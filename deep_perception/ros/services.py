"""The services of the node. They answer at once and analyse nothing."""

from __future__ import annotations

import json
import time

from rclpy.node import Node
from rclpy.parameter import Parameter
from std_srvs.srv import SetBool, Trigger

from deep_perception.redaction.output import clean_line
from deep_perception.ros import messages
from deep_perception.ros.camera_pipeline import CameraPipeline
from deep_perception.ros.scene_state import SILENT_S, status_of, to_message
from deep_perception.ros.state import NodeState
from deep_perception.untrusted.text import printable
from deep_perception_msgs.srv import GetScene

# A scene is compared with the newest frame, but not more often than this.
COMPARE_EVERY_S = 0.1


class Services:
    """``~/set_enabled``, ``~/get_scene`` and ``~/request_keyframe``."""

    def __init__(self, *, node: Node, state: NodeState) -> None:
        self._node = node
        self._state = state
        node.create_service(SetBool, "~/set_enabled", self._on_set_enabled)
        node.create_service(GetScene, "~/get_scene", self._on_get_scene)
        node.create_service(Trigger, "~/request_keyframe", self._on_request_keyframe)

    def _on_set_enabled(
        self, request: SetBool.Request, response: SetBool.Response
    ) -> SetBool.Response:
        # The service sets the parameter, so `ros2 param get` and the service always agree.
        result = self._node.set_parameters_atomically(
            [Parameter("ros.enabled", value=request.data)]
        )
        response.success = result.successful
        done = "enabled" if request.data else "disabled"
        response.message = clean_line(result.reason) or done
        return response

    def _on_request_keyframe(
        self, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        pipelines = self._state.pipelines.values()
        cameras = [pipeline.camera for pipeline in pipelines if pipeline.camera is not None]
        for pipeline in pipelines:
            pipeline.stream.keyframes.request()
        response.success = bool(cameras) and self._state.settings.ros.enabled
        if not cameras:
            response.message = "the node is not active: it receives no frames"
        elif not response.success:
            response.message = "disabled: the next frame after ~/set_enabled is analysed"
        else:
            silent = [camera for camera in cameras if camera.silent_s() > SILENT_S]
            reasons = (camera.explain_silence() for camera in silent)
            response.message = clean_line("; ".join(["the next frame is analysed", *reasons]))
        return response

    def _on_get_scene(
        self, request: GetScene.Request, response: GetScene.Response
    ) -> GetScene.Response:
        pipelines = self._state.pipelines
        pipeline = pipelines.get(request.camera)
        if pipeline is not None:
            self._fill(response, pipeline, include_masks=request.include_masks)
        elif pipelines:
            known = ", ".join(pipelines) or "leave the name empty"
            response.message = clean_line(
                f"there is no camera '{printable(request.camera)}'; there is {known}"
            )
        else:
            response.message = f"the node is not configured; {self._state.problem}".rstrip("; ")
        return response

    def _fill(
        self, response: GetScene.Response, pipeline: CameraPipeline, *, include_masks: bool
    ) -> None:
        settings = self._state.settings
        pipeline.compare_view(settings, at_most_every_s=COMPARE_EVERY_S)
        status = status_of(pipeline, is_enabled=settings.ros.enabled)
        latest = pipeline.latest
        now_ns = self._node.get_clock().now().nanoseconds
        response.state = to_message(status, pipeline.name, latest, now_ns)
        if latest is None:
            response.message = status.reason
            return
        scene, keyframe = latest
        response.scene = messages.to_regions(scene, keyframe)
        if not include_masks:
            for region in response.scene.regions:
                region.mask.counts = ""
        now_s = time.monotonic()
        content = {
            # Without new frames, the latest scene is not the present one.
            "state": status.state,
            "state_reason": status.reason,
            "state_for_s": round(now_s - status.since_s, 3),
            "activity": status.activity,
            "activity_for_s": round(now_s - status.activity_since_s, 3),
            "pending": status.pending,
            "age_s": round(now_s - pipeline.latest_s, 3),
            **messages.to_json_dict(scene, keyframe),
        }
        response.json = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        response.success = True
