"""Random faults around a running node: it goes on, tells the truth, and ends well.

``make test-faults ARGS="--fault-seed 7 --fault-steps 60"``; a failure names the seed and the steps,
and ``--fault-only 12,17`` makes only these again, with the same chance.
"""

import contextlib
import random
import signal
import sys
import time

import pytest

from faults import lifecycle, parameters, publishers, servers, services, subscribers  # noqa: F401
from faults.table import FAULTS
from faults.world import LONGEST_GAP_S, World

pytestmark = [pytest.mark.ros, pytest.mark.chat]

ENDS = (
    (signal.SIGINT,), (signal.SIGTERM,), (signal.SIGINT, signal.SIGINT),
    (signal.SIGTERM, signal.SIGINT),
)  # fmt: skip
SETTLE_EVERY = 5
# A fault lasts so long; an outage of the server has to be noticed.
LAST_S = (0.3, 1.0, 3.0)
# The chance of a second fault, of another kind, while the first one lasts.
TWO_AT_ONCE = 0.3
SECOND = ("publishers", "subscribers", "servers")


def plan(seed, count):
    """Return the names of the faults of each step."""
    chance = random.Random(seed)
    names = sorted(FAULTS)
    weights = [FAULTS[name].weight for name in names]
    steps = []
    for (first,) in (chance.choices(names, weights) for _ in range(count)):
        others = [name for name in names if kind(name) in SECOND and kind(name) != kind(first)]
        second = [chance.choice(others)] if chance.random() < TWO_AT_ONCE else []
        steps.append((first, *second))
    return steps


def kind(name):
    return name.partition(".")[0]


def chosen(seed, count, only):
    """Return pairs of a step's number and its faults; ``only``: numbers or names with commas."""
    wanted = set(filter(None, only.split(",")))
    return [
        (number, names)
        for number, names in enumerate(plan(seed, count), 1)
        if not wanted or wanted & {str(number), *names}
    ]


def test_the_same_seed_makes_the_same_steps():
    assert plan(7, 50) == plan(7, 50) != plan(8, 50)
    assert {name for names in plan(7, 2000) for name in names} == set(FAULTS)
    number, names = chosen(7, 50, "")[20]
    assert number == 21
    assert (number, names) in chosen(7, 50, "21")
    assert (number, names) in chosen(7, 50, f"99,{names[0]}")


@pytest.fixture
def world(graph, start_node, start_actor):
    world = World(
        graph=graph, start_node=start_node, start_actor=start_actor, server=servers.FaultyServer()
    )
    yield world
    world.server.end_of_fault.set()
    world.server.die()


@pytest.mark.faults
def test_faults_of_all_kinds_leave_the_node_alive_and_truthful(world, pytestconfig):
    option = pytestconfig.getoption
    seed, count, minutes = (option(f"fault_{name}") for name in ("seed", "steps", "minutes"))
    steps = chosen(seed, count, option("fault_only"))
    again = f"make test-faults ARGS='--fault-seed {seed} --fault-steps {count}'"
    done, problems, started_s = 0, [], time.monotonic()

    def show(text):  # pytest prints it if this fails, or at once with -s
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    show(again)
    for number, names in steps:
        if time.monotonic() - started_s > 60 * minutes:
            show(f"{minutes:g} minutes are over after {done} of {len(steps)} steps")
            break
        what = f"{number:4} {' and '.join(names)}"
        try:
            took = one_step(world, [FAULTS[name] for name in names], f"{seed} {number}")
            done += 1
            if done % SETTLE_EVERY == 0:
                world.settle()
                took = f"{took}; {world.figures()}"
        except BaseException:
            show(f"{what}\n{again}")
            raise
        show(f"{what:60} {took}")
        for problem in world.take_problems():
            show(f"   {problem}")
            problems.append(f"step {what.strip()}: {problem}")
    world.settle()
    world.end(*random.Random(seed).choice(ENDS))
    problems += world.take_problems()
    assert not problems, "\n".join([again, *problems])


def one_step(world, faults, seed):
    """Let faults come, last and end; returns what it took, in words."""
    graph, began_s = world.graph, time.monotonic()
    lasts_s = random.Random(seed).choice(LAST_S)
    world.longest_gap_s = 0.0
    with contextlib.ExitStack() as stack:
        # What stops the node ends first, for only an active node asks a server that is well again.
        for fault in sorted(faults, key=lambda fault: fault.stops_all):
            stack.enter_context(fault.lasting(world, random.Random(f"{seed} {fault.name}")))
        graph.spin(lasts_s)
    ended_s = time.monotonic()
    again_s = world.healthy_again()
    if not any(fault.stops_all for fault in faults) and world.longest_gap_s > LONGEST_GAP_S:
        world.problem(f"no scene of the healthy camera for {world.longest_gap_s:.1f} s")
    world.check_diagnostics()
    world.check_log()
    return (
        f"{ended_s - began_s:5.1f} s; no scene for {world.longest_gap_s:4.1f} s at most, "
        f"{again_s:4.1f} s after the end"
    )
