"""Faults of those who set parameters: legal, illegal, and what no service may change."""

from rcl_interfaces.srv import (
    DescribeParameters,
    GetParameters,
    GetParameterTypes,
    ListParameters,
    SetParameters,
    SetParametersAtomically,
)
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock

from deep_perception.settings.options import options
from faults.hostile import text
from faults.table import fault

# What a peer could use to reach files, addresses, secrets or code.
ATTACKS = ("/etc/passwd", "/proc/self/environ", "http://127.0.0.1:1/v1", "AWS_SECRET_ACCESS_KEY",
           "http.server:test", "sys:exit", "os:abort", "/tmp/made_by_a_peer.sqlite")  # fmt: skip
# Values of any ROS type; a setting takes one of them at most.
ODD = (True, -1, 2**63 - 1, -(2**63), float("nan"), float("inf"), -1e300, 0.5, "", [b"x"], [1, 2],
       ["a"], [True], [0.5], None)  # fmt: skip


def changeable():
    return [each for each in options() if not (each.read_only or each.trusted)]


def legal(option, chance):
    if option.choices:
        return chance.choice(option.choices)
    if option.kind is bool:
        return chance.random() < 0.5
    if option.kind is str:
        return option.default
    low = 0 if option.live_at_least is None else option.live_at_least
    high = 10**6 if option.live_at_most is None else option.live_at_most
    drawn = chance.choice((low, high, chance.uniform(low, high), chance.uniform(low, low + 10)))
    drawn = min(drawn, high)
    return float(drawn) if option.kind is float else int(drawn) // option.step * option.step


def set_one(world, name, value):
    message = Parameter(name, value=value).to_parameter_msg()
    return world.call(
        SetParameters, "set_parameters", SetParameters.Request(parameters=[message])
    ).results[0]


def restore(world):
    """Set everything to what it was at the start."""
    messages = [
        Parameter(each.name, value=world.settings[each.name]).to_parameter_msg()
        for each in changeable()
    ]
    request = SetParametersAtomically.Request(parameters=messages)
    result = world.call(SetParametersAtomically, "set_parameters_atomically", request).result
    if not result.successful:
        world.problem(f"what was set at the start is refused: {result.reason}")


@fault(weight=2, stops_all=True)
def legal_values(world, chance):
    for option in chance.sample(changeable(), chance.randint(1, 8)):
        value = legal(option, chance)
        result = set_one(world, option.name, value)
        world.check_shown(result.reason, f"the refusal of {option.name}")
        if not result.successful:
            world.problem(f"{option.name}: {value!r} is refused: {result.reason}")
    yield
    restore(world)


@fault(weight=2, stops_all=True)
def illegal_values(world, chance):
    for option in chance.sample(options(), 6):
        value = chance.choice((*ODD, text(chance)[:100_000]))
        world.check_shown(set_one(world, option.name, value).reason, f"refusal of {option.name}")
    for name in ("", "no.such", "describer", "use_sim_time.x", text(chance)[:1000]):
        world.check_shown(set_one(world, name, 1).reason, "the refusal of an unknown name")
    yield
    restore(world)


def attack(world, chance):
    """Try to change what is not for peers; nothing of it may succeed."""
    trusted = [option for option in options() if option.trusted and option.kind is str]
    for option in chance.sample(trusted, min(6, len(trusted))):
        value = chance.choice((*ATTACKS, text(chance)[:1000]))
        # In some states the old value is accepted, for nothing changes.
        result = set_one(world, option.name, value)
        world.check_shown(result.reason, f"the refusal of {option.name}")
        if result.successful and value != world.settings[option.name]:
            world.problem(f"a peer sets {option.name} to {value[:60]!r}")
            set_one(world, option.name, world.settings[option.name])


@fault(weight=2)
def trusted_settings(world, chance):
    attack(world, chance)
    yield


@fault()
def questions(world, chance):
    names = [chance.choice(("", "describer.url", "x" * 5000, text(chance)[:500])) for _ in range(5)]
    for kind, name, request in (
        (GetParameters, "get_parameters", GetParameters.Request(names=names)),
        (GetParameterTypes, "get_parameter_types", GetParameterTypes.Request(names=names)),
        (DescribeParameters, "describe_parameters", DescribeParameters.Request(names=names)),
        (ListParameters, "list_parameters",
         ListParameters.Request(prefixes=names, depth=chance.choice((0, 1, 2**64 - 1)))),
    ):  # fmt: skip
        world.call(kind, name, request)
    yield


@fault()
def simulated_time(world, chance):
    """A peer tries to switch to simulated time, and sends times that jump."""
    node = world.graph.node
    clock = node.create_publisher(Clock, "/clock", 10)
    if set_one(world, "use_sim_time", True).successful:
        world.problem("a peer switches to simulated time")
    for _ in range(15):
        message = Clock()
        message.clock.sec = chance.choice((0, 1, 1000, 2**31 - 1, -5, chance.randrange(10**9)))
        message.clock.nanosec = chance.choice((0, 999_999_999, 2**32 - 1))
        clock.publish(message)
        world.graph.spin(chance.choice((0.0, 0.05, 0.2)))
    yield
    node.destroy_publisher(clock)
