"""Faults of those who change the state of the managed node: any transition, at any time."""

from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState

from faults.hostile import text
from faults.parameters import attack
from faults.table import fault

ANY = (
    Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE,
    Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP, 0, 8, 10, 61, 99, 255,
)  # fmt: skip
SHUTDOWNS = (
    Transition.TRANSITION_UNCONFIGURED_SHUTDOWN, Transition.TRANSITION_INACTIVE_SHUTDOWN,
    Transition.TRANSITION_ACTIVE_SHUTDOWN,
)  # fmt: skip
# What leads from a state to the active one.
NEXT = {
    State.PRIMARY_STATE_UNCONFIGURED: Transition.TRANSITION_CONFIGURE,
    State.PRIMARY_STATE_INACTIVE: Transition.TRANSITION_ACTIVATE,
}


def change(world, number, label=""):
    request = ChangeState.Request(transition=Transition(id=number, label=label))
    return world.call(ChangeState, "change_state", request, again=False).success


def state(world):
    return world.call(GetState, "get_state", GetState.Request()).current_state.id


def to_active(world):
    """Bring the node to the active state, from wherever it is."""
    for _ in range(4):
        found = state(world)
        if found == State.PRIMARY_STATE_ACTIVE:
            return
        if found not in NEXT:
            break
        change(world, NEXT[found])
    world.problem(f"the node does not become active from state {state(world)}")


@fault(weight=2, stops_all=True)
def any_transition(world, chance):
    for _ in range(chance.randint(1, 8)):
        change(world, chance.choice(ANY), text(chance) if chance.random() < 0.2 else "")
        world.graph.spin(chance.choice((0.0, 0.1, 0.5)))
    yield
    to_active(world)


@fault(stops_all=True)
def settings_between_states(world, chance):
    """What is fixed at the start is fixed in every state."""
    for number in (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP):
        change(world, number)
        attack(world, chance)
    yield
    to_active(world)


@fault(weight=0.5, stops_all=True)
def shutdown(world, chance):
    """Nothing leads back from the finalized state, so that the node is started anew."""
    for number in chance.sample(SHUTDOWNS, 3):
        change(world, number)
        if state(world) == State.PRIMARY_STATE_FINALIZED:
            break
    yield
    world.restart()
