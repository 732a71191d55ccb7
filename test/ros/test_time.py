"""Time that jumps, stands still and runs at another speed: by the stamps, and by /clock.

This file is longer than 300 lines because its tests share the player of recordings and its clocks.
"""

import time

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image

from deep_perception_msgs.msg import DescribedRegion, DescribedRegionArray
from deep_perception_msgs.srv import GetScene
from support.actors import camera_image
from support.graph import LASTING, LATCHED, UNWATCHED, Diagnostics, Graph

pytestmark = pytest.mark.ros

OFTEN = {"ros.diagnostics_period_s": 0.1}
SOON = {"ros.input_timeout_s": 1.0, **OFTEN}


def seconds(stamp):
    return stamp.sec + stamp.nanosec / 1e9


def at(time_s):
    return Time(sec=int(time_s), nanosec=round(time_s % 1 * 1e9))


class Player:
    """Plays a still view at given times, as a bag player does, with /clock if asked to."""

    def __init__(self, graph, name, *, clock=False):
        self._graph = graph
        self._clock = graph.publisher(Clock, "/clock") if clock else None
        self._camera = graph.publisher(Image, f"/{name}/image")
        self.time_s = 0.0

    def close(self):
        for publisher in filter(None, (self._clock, self._camera)):
            self._graph.node.destroy_publisher(publisher)

    def play(self, time_s, *, image=True):
        self.time_s = time_s
        if self._clock is not None:
            self._clock.publish(Clock(clock=at(time_s)))
        if image:
            message = self._graph.image(camera_image(1))
            message.header.stamp = at(time_s)
            self._camera.publish(message)
        self._graph.spin(0.05)

    def play_until(self, condition, what, step_s=0.1):
        def met():
            self.play(self.time_s + step_s)
            return condition()

        self._graph.until(met, what)


@pytest.fixture
def play(graph):
    players = []

    def start(name, **arguments):
        players.append(Player(graph, name, **arguments))
        return players[-1]

    yield start
    for player in players:
        player.close()


def ids(scene):
    return {region.track_id for region in scene.regions}


def check(scene):
    """Nothing in it is of the future."""
    now = seconds(scene.header.stamp)
    for region in scene.regions:
        assert seconds(region.first_seen) <= now
        assert seconds(region.last_described) <= now


def test_stamps_that_jump(graph, start_node, play):
    start_node(remaps=["__ns:=/jump"], **LASTING, **UNWATCHED, **{"keyframes.max_interval_s": 3.0})
    scenes = graph.listen(DescribedRegionArray, "/jump/analyzer/regions", LATCHED)
    player = play("jump")

    def jump_to(time_s):
        scenes.clear()
        player.time_s = time_s
        player.play_until(lambda: scenes, f"a scene at {time_s}")
        return scenes[0]

    first = jump_to(1000.0)
    assert first.reason == "first"
    # An hour later: the view is the same, but its descriptions are too old.
    forward = jump_to(4600.0)
    assert forward.reason == "heartbeat"
    assert ids(forward) == ids(first)
    assert {region.status for region in forward.regions} == {DescribedRegion.STATUS_DESCRIBED}
    # A little later, and then the bag starts anew.
    again = jump_to(4605.0)
    assert {region.status for region in again.regions} == {DescribedRegion.STATUS_REUSED}
    back = jump_to(1000.0)
    assert back.reason == "first"
    assert not ids(back) & ids(again)
    assert {region.status for region in back.regions} == {DescribedRegion.STATUS_DESCRIBED}
    for scene in (first, forward, again, back):
        check(scene)


class Clocks:
    """The stamps of cameras whose clocks are of no use, by the number of the frame and the time."""

    still = staticmethod(lambda number, now_s: 1000.0)
    blocks = staticmethod(lambda number, now_s: 1000.0 + number // 40 * 0.01)
    slow = staticmethod(lambda number, now_s: 1000.0 + number * 33e-6)
    fast = staticmethod(lambda number, now_s: 1000.0 + now_s % 1e5 * 1000)
    empty = staticmethod(lambda number, now_s: 0.0)
    hops = staticmethod(lambda number, now_s: now_s - 10.0 * (number // 3 % 2))
    # Nothing is wrong with this one.
    old = staticmethod(lambda number, now_s: now_s - 3 * 3600)


def test_stamps_that_are_of_no_use_do_not_silence_a_camera(graph, start_node):
    names = [name for name in vars(Clocks) if not name.startswith("_")]
    node = start_node(
        remaps=["__ns:=/clocks"],
        **UNWATCHED,
        **OFTEN,
        **LASTING,
        **{"ros.cameras": f"'{','.join(names)}'", "keyframes.mode": "interval"},
    )
    scenes = {
        name: graph.listen(DescribedRegionArray, f"/clocks/analyzer/{name}/regions", LATCHED)
        for name in names
    }
    diagnostics = Diagnostics(graph, "/clocks/analyzer")
    cameras = {name: graph.publisher(Image, f"/clocks/{name}/image") for name in names}
    numbers, started_s = iter(range(10**6)), time.monotonic()

    def all_go_on():
        number = next(numbers)
        for name, camera in cameras.items():
            message = graph.image(camera_image(1))
            message.header.stamp = at(getattr(Clocks, name)(number, time.time()))
            camera.publish(message)
        graph.spin(0.03)
        return all(len(found) >= 6 for found in scenes.values())

    graph.until(all_go_on, lambda: {name: len(found) for name, found in scenes.items()})
    elapsed_s = time.monotonic() - started_s
    for name, found in scenes.items():
        # min_interval_s is 1; the first scenes come before the fault is known.
        assert len(found) <= elapsed_s + 4, name
        assert len(ids(found[-1]) & ids(found[-3])) == len(ids(found[-1])) > 0, name
        assert node.log.count(f"the images of /clocks/{name}/image") == (name != "old"), name
        level = b"\x00" if name == "old" else b"\x01"
        assert diagnostics.last(f"{name} input").level == level, name
    assert diagnostics.reports("stand still", "still input")
    assert "arrival time is used" in diagnostics.last("empty input").message


@pytest.mark.parametrize("apart_s", [0.0, 10.0])
def test_two_publishers_on_one_topic_are_named_and_shred_no_identity(graph, start_node, apart_s):
    space = f"/shared{apart_s:.0f}"
    other = Graph("second_tester")
    try:
        cameras = [
            each.publisher(Image, f"{space}/image", matched=False) for each in (graph, other)
        ]
        node = start_node(remaps=[f"__ns:={space}"], **UNWATCHED, **OFTEN, **LASTING,
                          **{"keyframes.mode": "interval"})  # fmt: skip
        scenes = graph.listen(DescribedRegionArray, f"{space}/analyzer/regions", LATCHED)
        diagnostics = Diagnostics(graph, f"{space}/analyzer")
        for each, camera in zip((graph, other), cameras, strict=True):
            each.until(camera.get_subscription_count, "the subscription")
        started_s = time.monotonic()

        def several():
            for number, camera in enumerate(cameras):
                message = graph.image(camera_image(1))
                message.header.stamp = at(time.time() - apart_s * number)
                camera.publish(message)
                graph.spin(0.02)
            status = diagnostics.last()
            return len(scenes) >= 5 and status and status.level == b"\x01"

        graph.until(several, lambda: f"{len(scenes)} scenes and {diagnostics.last()}")
        elapsed_s = time.monotonic() - started_s
        assert "(/second_tester, /tester)" in diagnostics.last().message
        assert ("10.0 s apart" in diagnostics.last().message) == (apart_s > 0)
        assert node.log.count(f"the images of {space}/image") == 1
        assert len(scenes) <= elapsed_s + 2
        assert set.union(*map(ids, scenes)) == ids(scenes[0])
    finally:
        other.close()


BACKEND = """
import time
from pathlib import Path
from deep_perception.describers.attributes import Attributes

class Held(Attributes):
    def describe(self, image, regions):
        for found in super().describe(image, regions):
            print("in hand", flush=True)
            while (Path(__file__).parent / "hold").exists():
                time.sleep(0.05)
            yield found
"""


@pytest.mark.slow
@pytest.mark.parametrize("by_clock", [False, True])
def test_a_frame_in_hand_when_time_goes_back_is_no_scene(
    graph, start_node, play, tmp_path, by_clock
):
    """The bag starts anew while the first regions of a frame are described."""
    (tmp_path / "held_backend.py").write_text(BACKEND)
    (tmp_path / "hold").touch()
    name = f"held{int(by_clock)}"
    node = start_node(
        remaps=[f"__ns:=/{name}"],
        python_path=str(tmp_path),
        use_sim_time=by_clock,
        **OFTEN,
        **UNWATCHED,
        **{"describer.backend": "held_backend:Held"},
    )
    scenes = graph.listen(DescribedRegionArray, f"/{name}/analyzer/regions", LATCHED)
    diagnostics = Diagnostics(graph, f"/{name}/analyzer")
    player = play(name, clock=by_clock)
    player.time_s = 1000.0
    player.play_until(lambda: "in hand" in node.log, "a frame in hand")
    if by_clock:
        player.play(500.0, image=False)
    else:
        player.time_s = 500.0
        received = diagnostics.count("received")
        player.play_until(
            lambda: diagnostics.count("received") > received, "frames of the new start"
        )
    graph.until(lambda: diagnostics.count("outdated") == 1, "the end of the outdated frame")
    (tmp_path / "hold").unlink()
    player.play_until(lambda: scenes, "a scene")
    assert [scene.reason for scene in scenes] == ["first"]
    assert seconds(scenes[0].header.stamp) < 1000
    assert "Traceback" not in node.log and "ERROR" not in node.log


def test_simulated_time_pauses_goes_back_and_runs_fast(graph, start_node, play):
    node = start_node(
        remaps=["__ns:=/sim"],
        use_sim_time=True,
        **SOON,
        **LASTING,
        **{"keyframes.mode": "interval", "keyframes.min_interval_s": 1.0},
    )
    scenes = graph.listen(DescribedRegionArray, "/sim/analyzer/regions", LATCHED)
    diagnostics = Diagnostics(graph, "/sim/analyzer")

    def get_scene():
        return graph.call(GetScene, "/sim/analyzer/get_scene", GetScene.Request())

    # Before the simulator is there.
    missing = "simulated time stands still (use_sim_time); /clock has no publisher"
    graph.until(lambda: diagnostics.reports(missing), lambda: f"{missing}; {diagnostics.last()}")
    player = play("sim", clock=True)
    player.time_s = 100.0
    player.play_until(lambda: len(scenes) >= 3, "three scenes")
    graph.until(lambda: diagnostics.reports("images arrive"), "the recovery")

    # A pause is reported as a warning, and the diagnostics go on.
    paused = "simulated time stands still (use_sim_time); /clock is paused"
    graph.until(lambda: diagnostics.reports(paused), lambda: f"{paused}; {diagnostics.last()}")
    assert diagnostics.last().level == b"\x01"
    before = len(diagnostics.arrays())
    graph.until(lambda: len(diagnostics.arrays()) >= before + 5, "diagnostics in the pause")
    in_pause = diagnostics.arrays()[before:]
    assert {seconds(array.header.stamp) for array in in_pause} == {seconds(at(player.time_s))}
    assert get_scene().success

    # Ten times as fast: one keyframe for each second of the simulation.
    scenes.clear()
    player.play_until(lambda: len(scenes) >= 8, "scenes of fast time", step_s=0.5)
    times = [seconds(scene.header.stamp) for scene in scenes]
    assert min(np.diff(times)) >= 1.0
    before = scenes[-1]
    assert ids(before) == ids(scenes[0])
    assert {region.status for region in before.regions} == {DescribedRegion.STATUS_REUSED}

    # The bag starts anew: before its first frame there is no scene of the future.
    scenes.clear()
    player.play(50.0, image=False)
    graph.until(lambda: not get_scene().success, "that the scene is forgotten")
    # A later subscription gets none either.
    late = graph.listen(DescribedRegionArray, "/sim/analyzer/regions", LATCHED)
    graph.until(lambda: late, "the latched scene")
    assert [(len(scene.regions), seconds(scene.header.stamp)) for scene in late] == [(0, 50.0)]
    scenes.clear()
    player.play_until(lambda: scenes, "a scene after the jump")
    assert scenes[0].reason == "first"
    assert not ids(scenes[0]) & ids(before)
    assert {region.status for region in scenes[0].regions} == {DescribedRegion.STATUS_DESCRIBED}
    assert seconds(get_scene().scene.header.stamp) < 60
    for scene in scenes:
        check(scene)
    assert float(diagnostics.values()["age_s"]) >= 0
    assert node.log.count(paused) == 1
    assert node.log.count(missing) == 1
