"""Random faults around a running node: it goes on, tells the truth, and ends well.

``make test-faults ARGS="--fault-seed 7 --fault-steps 60"``; a failure names the seed and the steps,
and ``--fault-only 12,17`` makes only these again, with the same chance.
"""

import random
import signal
import sys
import time

import pytest

from faults import lifecycle, parameters, publishers, servers, services, subscribers  # noqa: F401
from faults.table import FAULTS
from faults.world import World

pytestmark = [pytest.mark.ros, pytest.mark.chat]

ENDS = (
    (signal.SIGINT,), (signal.SIGTERM,), (signal.SIGINT, signal.SIGINT),
    (signal.SIGTERM, signal.SIGINT),
)  # fmt: skip
SETTLE_EVERY = 5
# So long a fault may last: until the healthy camera has another scene, if it has one.
LAST_S = 2.0


def plan(seed, count):
    """Return the names of the faults."""
    chance = random.Random(seed)
    names = sorted(FAULTS)
    weights = [FAULTS[name].weight for name in names]
    return chance.choices(names, weights, k=count)


def chosen(seed, count, only):
    """Return pairs of a step's number and its fault; ``only``: numbers or names with commas."""
    steps = list(enumerate(plan(seed, count), 1))
    wanted = set(filter(None, only.split(",")))
    return [
        (number, name)
        for number, name in steps
        if not wanted or str(number) in wanted or name in wanted
    ]


def test_the_same_seed_makes_the_same_steps():
    assert plan(7, 50) == plan(7, 50) != plan(8, 50)
    assert set(plan(7, 2000)) == set(FAULTS)
    number, name = chosen(7, 50, "")[20]
    assert (number, name) in chosen(7, 50, f"21,{name}")


@pytest.fixture
def world(graph, start_node, start_actor):
    world = World(
        graph=graph, start_node=start_node, start_actor=start_actor, server=servers.HostileServer()
    )
    yield world
    world.server.end_of_fault.set()
    world.server.die()


@pytest.mark.slow
@pytest.mark.faults
def test_faults_of_all_kinds_leave_the_node_alive_and_truthful(world, pytestconfig, capsys):
    option = pytestconfig.getoption
    seed, minutes = option("fault_seed"), option("fault_minutes")
    steps = chosen(seed, option("fault_steps"), option("fault_only"))
    done, started_s = [], time.monotonic()

    def show(text):
        with capsys.disabled():
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()

    show(f"\nfaults of seed {seed}")
    try:
        for number, name in steps:
            if time.monotonic() - started_s > 60 * minutes:
                show(f"{minutes:g} minutes are over after {len(done)} of {len(steps)} faults")
                break
            done.append(f"{number} {name}")
            took = one_step(world, FAULTS[name], random.Random(f"{seed} {number} {name}"))
            show(f"{number:4} {name:36} {took}")
            if len(done) % SETTLE_EVERY == 0:
                world.settle()
                show(f"     {world.figures()}")
            world.check_log()
            assert not world.problems, world.problems
        world.settle()
        world.end(*random.Random(seed).choice(ENDS))
    except BaseException:
        show(f"make test-faults ARGS='--fault-seed {seed} --fault-steps {option('fault_steps')}'\n"
             f"the faults so far: {'; '.join(done)}")  # fmt: skip
        raise
    assert not world.problems, world.problems


def one_step(world, fault, chance):
    """Let a fault come, last and end; returns what it took, in words."""
    graph, scenes = world.graph, world.scenes["healthy"]
    began_s = time.monotonic()
    with fault.lasting(world, chance):
        caused_s = time.monotonic()
        before = scenes[-1].keyframe
        while time.monotonic() - caused_s < LAST_S and scenes[-1].keyframe <= before + 1:
            graph.spin(0.05)
    ended_s = time.monotonic()
    again_s = world.healthy_again()
    world.check_diagnostics()
    return f"{ended_s - began_s:5.1f} s; a scene {again_s:4.1f} s after it"
