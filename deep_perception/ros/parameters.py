"""The settings tree as ROS parameters: declared with descriptors, validated, kept up to date."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from deep_perception.settings import Settings
from deep_perception.settings.options import Option, SettingsError, find, options, settings_from

# A ROS range has two ends; these stand for "no limit" on one side.
INT_LIMIT, FLOAT_LIMIT = 2**31 - 1, 1e12
# Read when the node is made; the others that are read only, when it is configured.
AT_START = ("ros.cameras", "ros.autostart")


def declare(
    node: Node, on_change: Callable[[Settings], None], configured: Callable[[], bool]
) -> Settings:
    """Declare every setting on a node; returns the settings with the overrides of this start.

    Later changes are validated as a whole before any of them is taken, then handed to
    ``on_change``; settings that are read only do not change while the node is ``configured``.
    Raises SettingsError when an override of this start is not allowed.
    """
    changes = {}
    for option in options():
        try:
            changes[option.name] = node.declare_parameter(
                option.name, option.default, descriptor(option)
            ).value
        except (InvalidParameterTypeException, InvalidParameterValueException):
            given = node._parameter_overrides[option.name].value
            message = f"{option.name}: {given!r} is not allowed; expected {option.expected}"
            if option.kind is float and isinstance(given, int):
                message += f"; ROS wants it as {float(given)}"
            raise SettingsError(message) from None
    for message in _misspelt(node):
        node.get_logger().warning(message)
    current = settings_from(changes)

    def ours(parameters: Sequence[Parameter]) -> dict[str, object]:
        return {each.name: each.value for each in parameters if each.name in changes}

    def validate(parameters: Sequence[Parameter]) -> SetParametersResult:
        fixed = [name for name in ours(parameters) if find(name).read_only and configured()]
        if fixed:
            name = node.get_fully_qualified_name()
            reason = (
                f"{fixed[0]} is fixed while the node is configured; first "
                f"`ros2 lifecycle set {name} deactivate` and `ros2 lifecycle set {name} cleanup`"
            )
            return SetParametersResult(successful=False, reason=reason)
        try:
            settings_from(ours(parameters), current)
        except SettingsError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def take(parameters: Sequence[Parameter]) -> None:
        nonlocal current
        if ours(parameters):
            current = settings_from(ours(parameters), current)
            on_change(current)

    node.add_on_set_parameters_callback(validate)
    node.add_post_set_parameters_callback(take)
    return current


def _misspelt(node: Node) -> Iterator[str]:
    """What is wrong with the overrides of this start that look like settings and are none."""
    groups = {option.name.split(".")[0] for option in options()}
    for name in node._parameter_overrides:
        if name.split(".")[0] in groups:
            try:
                find(name)
            except SettingsError as error:
                yield f"parameter {error}; it is ignored"


def descriptor(option: Option) -> ParameterDescriptor:
    """Description, range and choices of one setting, as ``ros2 param describe`` shows them."""
    message = ParameterDescriptor(
        name=option.name,
        description=f"{option.help} [{option.expected}]",
        read_only=option.name in AT_START,
        additional_constraints=option.expected if option.choices else "",
    )
    low, high = option.at_least, option.at_most
    if low is None and high is None:
        return message
    if option.kind is int:
        message.integer_range = [
            IntegerRange(
                from_value=-INT_LIMIT if low is None else int(low),
                to_value=INT_LIMIT if high is None else int(high),
                step=option.step,
            )
        ]
    else:
        message.floating_point_range = [
            FloatingPointRange(
                from_value=-FLOAT_LIMIT if low is None else float(low),
                to_value=FLOAT_LIMIT if high is None else float(high),
            )
        ]
    return message
