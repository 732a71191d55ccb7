"""The publishers of one camera's scenes."""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import rclpy
from rclpy.clock import Clock, ClockType
from rclpy.event_handler import PublisherEventCallbacks
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.timer import Timer
from sensor_msgs.msg import CompressedImage, Image
from vision_msgs.msg import Detection2DArray

from deep_perception import drawing
from deep_perception.images import BgrImage
from deep_perception.regions import Region, Scene
from deep_perception.reports.messages import Keyframe
from deep_perception.ros import messages
from deep_perception.ros.rclpy_internals import InvalidHandle, RCLError
from deep_perception.settings import OutputSettings
from deep_perception_msgs.msg import DescribedRegion, DescribedRegionArray, SceneState

# A subscription that is new to the publisher may not be ready to receive at once.
PUBLISH_AFTER_S = 0.1
# However often subscriptions come, the images are not drawn more often for them.
PUBLISH_EVERY_S = 1.0
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def _without_times(state: SceneState) -> tuple[object, ...]:
    # A reason says for how long, or how many bytes an image has; what it says must not be outdated.
    reason = re.sub(r"[0-9.]+", "#", state.reason)
    return state.keyframe, state.state, reason, state.activity, state.pending, state.header.stamp


class Publishers:
    """The publishers under ``~/``, or ``~/<name>/`` of a camera that has a name."""

    def __init__(self, node: Node, name: str) -> None:
        self._node = node
        base = f"~/{name}" if name else "~"
        create = node.create_publisher
        self._regions = create(DescribedRegionArray, f"{base}/regions", LATCHED)
        self._updates = create(DescribedRegion, f"{base}/region_updates", 200)
        self._states = create(SceneState, f"{base}/scene_state", LATCHED)
        again = self._for_late_subscriptions(self._publish_detections)
        self._detections = create(
            Detection2DArray, f"{base}/detections", LATCHED, event_callbacks=again
        )
        drawn = self._for_late_subscriptions(self._draw)
        self._annotated = create(Image, f"{base}/annotated", 1, event_callbacks=drawn)
        self._compressed = create(
            CompressedImage, f"{base}/annotated/compressed", 1, event_callbacks=drawn
        )
        self._lock = threading.Lock()
        self._latest: tuple[Scene, BgrImage, Keyframe, OutputSettings] | None = None
        self._state: SceneState | None = None
        self._is_closed = False

    def close(self) -> None:
        """Destroy the publishers; what is published from now on is dropped."""
        self._is_closed = True
        for publisher in (
            self._detections, self._regions, self._updates, self._states, self._annotated,
            self._compressed,
        ):  # fmt: skip
            self._node.destroy_publisher(publisher)

    def publish_region(self, region: Region, keyframe: Keyframe) -> None:
        """Publish one region, as soon as it is described."""
        with self._unless_ended():
            self._updates.publish(messages.to_region(region, keyframe))

    def publish_state(self, state: SceneState) -> None:
        """Publish whether the latest scene is the present one, if that has changed."""
        with self._lock:
            previous, self._state = self._state, state
        if previous is None or _without_times(previous) != _without_times(state):
            with self._unless_ended():
                self._states.publish(state)

    def forget(self, keyframe: Keyframe, now_ns: int) -> None:
        """Replace the latched scene by an empty one of this time, for later subscriptions."""
        self._latest = None
        empty = DescribedRegionArray(camera=keyframe.camera, keyframe=keyframe.number)
        empty.header.frame_id = keyframe.header.frame_id
        empty.header.stamp = messages.to_time(now_ns)
        with self._unless_ended():
            self._regions.publish(empty)
            self._detections.publish(Detection2DArray(header=empty.header))

    def publish_scene(
        self, scene: Scene, image: BgrImage, keyframe: Keyframe, settings: OutputSettings
    ) -> None:
        """Publish the whole scene; images are drawn only while they have a subscription."""
        self._latest = scene, image, keyframe, settings
        with self._unless_ended():
            self._publish_detections(*self._latest)
            self._regions.publish(messages.to_regions(scene, keyframe))
            self._draw(*self._latest)

    @contextmanager
    def _unless_ended(self) -> Iterator[None]:
        # The threads that describe publish too, and one may end after the publishers or, as after
        # a signal, after the context.
        try:
            yield
        except (RCLError, InvalidHandle):
            if rclpy.ok() and not self._is_closed:
                raise

    def _for_late_subscriptions(
        self, publish: Callable[[Scene, BgrImage, Keyframe, OutputSettings], None]
    ) -> PublisherEventCallbacks:
        """Publish the latest scene for a subscription that came after it and is not latched."""

        timer: Timer | None = None
        published_s = -math.inf

        def on_matched(event: Any) -> None:
            nonlocal timer
            # A timer that waits is for all that come in the meantime.
            if event.current_count_change <= 0 or timer is not None:
                return
            rest_s = published_s + PUBLISH_EVERY_S - time.monotonic()
            timer = self._node.create_timer(
                max(PUBLISH_AFTER_S, rest_s),
                publish_latest,
                clock=Clock(clock_type=ClockType.STEADY_TIME),
            )

        def publish_latest() -> None:
            nonlocal timer, published_s
            if timer is not None:
                self._node.destroy_timer(timer)
            timer, published_s = None, time.monotonic()
            if self._latest is not None:
                with self._unless_ended():
                    publish(*self._latest)

        return PublisherEventCallbacks(matched=on_matched)

    def _publish_detections(
        self, scene: Scene, image: BgrImage, keyframe: Keyframe, settings: OutputSettings
    ) -> None:
        self._detections.publish(messages.to_detections(scene, keyframe))

    def _draw(
        self, scene: Scene, image: BgrImage, keyframe: Keyframe, settings: OutputSettings
    ) -> None:
        wants_raw = self._annotated.get_subscription_count() > 0
        wants_jpeg = self._compressed.get_subscription_count() > 0
        if not (wants_raw or wants_jpeg):
            return
        annotated = drawing.annotate(scene, image, label=settings.labels, opacity=settings.opacity)
        if wants_raw:
            self._annotated.publish(messages.to_image(annotated, keyframe.header))
        if wants_jpeg:
            self._compressed.publish(
                messages.to_compressed_image(annotated, keyframe.header, settings.jpeg_quality)
            )
