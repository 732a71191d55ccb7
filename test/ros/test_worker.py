"""A worker that starts while the one before it cannot be stopped."""

import sys
import threading
import time

import numpy as np
import pytest
from std_msgs.msg import Header

from deep_perception.analyzer import Analyzer
from deep_perception.ros import messages
from deep_perception.ros.camera_pipeline import CameraPipeline
from deep_perception.ros.latest import Latest
from deep_perception.ros.publishers import Publishers
from deep_perception.ros.received_frame import ReceivedFrame
from deep_perception.ros.worker import Worker
from deep_perception.segmenters.superpixels import Superpixels
from deep_perception.settings.options import settings_from

pytestmark = pytest.mark.ros


class Hangs(Superpixels):
    """A segmenter that blocks until the gate is open and cannot be cancelled."""

    gate, there = threading.Event(), threading.Event()

    def embed(self, image):
        Hangs.there.set()
        Hangs.gate.wait(60)
        return super().embed(image)


def wait_for(condition):
    ends = time.monotonic() + 60
    while not condition() and time.monotonic() < ends:
        time.sleep(0.02)
    return condition()


def test_a_worker_behind_one_that_hangs_is_busy_and_all_models_are_freed(graph):
    settings = settings_from({"segmenter.backend": f"{__name__}:Hangs"})
    view = CameraPipeline(
        name="",
        publishers=Publishers(graph.node, ""),
        warn=pytest.fail,
        inform=lambda message: None,
    )
    message = messages.to_image(np.full((60, 80, 3), 99, np.uint8), Header())
    message.header.stamp.sec = 1
    frames, freed, analyzer = Latest(), [], Analyzer(settings)

    def worker(frames, after):
        return Worker(
            pipelines={"": view},
            frames=frames,
            analyzer=analyzer,
            settings=lambda: settings,
            previous=after,
        )

    first = worker(frames, None)
    frames.put(ReceivedFrame(message, 0.0))
    assert Hangs.there.wait(60)
    first.stop()
    assert not first.has_ended
    second = worker(Latest(), first)
    try:
        assert second.busy_s > 0
        # Cleaned up, configured and cleaned up again before the first one ends.
        first.call_at_end(lambda: freed.append("one"))
        second.call_at_end(lambda: freed.append("two"))
        second.stop()
        second.wait(60)
        second.call_at_end(lambda: freed.append("three"))
        assert not second.has_ended
        assert freed == []
        # A peer can activate and deactivate the node again and again meanwhile.
        latest = second
        for _ in range(sys.getrecursionlimit() + 10):
            latest = worker(Latest(), latest)
            latest.stop()
        assert latest.busy_s > 0
        assert not latest.has_ended
    finally:
        Hangs.gate.set()
    assert wait_for(lambda: len(freed) == 3)
    assert wait_for(lambda: second.has_ended)
    assert second.busy_s == 0
    view.close()
