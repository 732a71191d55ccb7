"""The services of the node: quick answers, no analysis."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping

from rclpy.node import Node
from rclpy.parameter import Parameter
from std_srvs.srv import SetBool, Trigger

from deep_perception.ros import messages
from deep_perception.ros.camera_pipeline import CameraPipeline
from deep_perception.settings import Settings
from deep_perception_msgs.srv import GetScene

# After so long without a frame it is worth a word.
SILENT_S = 2.0


class Services:
    """``views`` are the cameras by name, none while the node is not configured."""

    def __init__(
        self,
        node: Node,
        views: Mapping[str, CameraPipeline],
        problem: Callable[[], str],
        settings: Callable[[], Settings],
    ) -> None:
        self._node = node
        self._views = views
        self._problem = problem
        self._settings = settings
        node.create_service(SetBool, "~/set_enabled", self._on_set_enabled)
        node.create_service(GetScene, "~/get_scene", self._on_get_scene)
        node.create_service(Trigger, "~/request_keyframe", self._on_request_keyframe)

    def _on_set_enabled(
        self, request: SetBool.Request, response: SetBool.Response
    ) -> SetBool.Response:
        # Through the parameter, so that `ros2 param get` and the service never disagree.
        results = self._node.set_parameters([Parameter("ros.enabled", value=request.data)])
        response.success = results[0].successful
        response.message = results[0].reason or ("enabled" if request.data else "disabled")
        return response

    def _on_request_keyframe(
        self, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        cameras = [view.camera for view in self._views.values() if view.camera is not None]
        for view in self._views.values():
            view.stream.keyframes.request()
        response.success = bool(cameras) and self._settings().ros.enabled
        if not cameras:
            response.message = "the node is not active: no frames come"
        elif not response.success:
            response.message = "disabled: the next frame after ~/set_enabled is analysed"
        else:
            silent = [camera for camera in cameras if camera.silent_s() > SILENT_S]
            response.message = "; ".join(
                ["the next frame is analysed", *(each.explain_silence() for each in silent)]
            )
        return response

    def _on_get_scene(
        self, request: GetScene.Request, response: GetScene.Response
    ) -> GetScene.Response:
        view = self._views.get(request.camera)
        if view is None and not self._views:
            response.message = f"the node is not configured; {self._problem()}".rstrip("; ")
        elif view is None:
            known = ", ".join(self._views) or "leave the name empty"
            response.message = f"there is no camera {request.camera!r}; there is {known}"
        elif view.latest is None:
            response.message = "no image has been analysed yet"
            if view.camera and view.camera.received == 0:
                response.message += f"; {view.camera.explain_silence()}"
        else:
            scene, keyframe = view.latest
            response.scene = messages.to_regions(scene, keyframe)
            if not request.include_masks:
                for region in response.scene.regions:
                    region.mask.counts = ""
            content = {
                # What was seen last is not what is seen now, if no frames come any more.
                "state": self._state(view),
                "age_s": round(time.monotonic() - view.latest_s, 3),
                **messages.to_json_dict(scene, keyframe),
            }
            response.json = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
            response.success = True
        return response

    def _state(self, view: CameraPipeline) -> str:
        if view.camera is None:
            return "not active: this is the last scene"
        if not self._settings().ros.enabled:
            return "disabled: this is the last scene"
        if view.camera.silent_s() > SILENT_S:
            return f"no image for {view.camera.silent_s():.0f} s: this is the last scene"
        return "live"
