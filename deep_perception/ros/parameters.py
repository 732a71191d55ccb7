"""The settings tree as ROS parameters: declare, describe and validate them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from deep_perception.redaction.output import clean_line
from deep_perception.ros import rclpy_internals
from deep_perception.settings import Settings
from deep_perception.settings.options import Option, SettingsError, find, options, settings_from

# A ROS range has two ends; these mean that there is no limit on one side.
INT_LIMIT, FLOAT_LIMIT = 2**31 - 1, 1e12
# These are read when the node is constructed; other read-only settings, when it is configured.
AT_START = ("ros.cameras", "ros.autostart")


def declare(
    *, node: Node, on_change: Callable[[Settings], None], is_configured: Callable[[], bool]
) -> Settings:
    """Declare every setting on a node; returns the settings with the values given at the start.

    Later changes are validated as a whole before any of them takes effect; ``on_change`` gets the
    new settings. Read-only settings do not change while the node is configured. Raises
    SettingsError if a value given at the start is not allowed.
    """
    given = rclpy_internals.given_parameters(node)
    changes = {}
    for option in options():
        try:
            changes[option.name] = node.declare_parameter(
                option.name, option.default, descriptor(option)
            ).value
        except (InvalidParameterTypeException, InvalidParameterValueException):
            value = given[option.name]
            message = f"{option.name}: {value!r} is not allowed; expected {option.expected}"
            if option.kind is float and isinstance(value, int):
                message += f"; ROS requires {float(value)} for a number of this kind"
            raise SettingsError(clean_line(message)) from None
    for message in _misspelt(given):
        node.get_logger().warning(message)
    current = settings_from(changes)

    def changed(parameters: Sequence[Parameter]) -> dict[str, object]:
        return {item.name: item.value for item in parameters if item.name in changes}

    def validate(parameters: Sequence[Parameter]) -> SetParametersResult:
        fixed = [name for name in changed(parameters) if find(name).read_only and is_configured()]
        if fixed:
            name = node.get_fully_qualified_name()
            reason = (
                f"{fixed[0]} is fixed while the node is configured; first "
                f"`ros2 lifecycle set {name} deactivate` and `ros2 lifecycle set {name} cleanup`"
            )
            return SetParametersResult(successful=False, reason=reason)
        try:
            settings_from(changed(parameters), current)
        except SettingsError as error:
            return SetParametersResult(successful=False, reason=clean_line(error))
        return SetParametersResult(successful=True)

    def apply(parameters: Sequence[Parameter]) -> None:
        nonlocal current
        if changed(parameters):
            current = settings_from(changed(parameters), current)
            on_change(current)

    node.add_on_set_parameters_callback(validate)
    node.add_post_set_parameters_callback(apply)
    return current


def _misspelt(given: Iterable[str]) -> Iterator[str]:
    """A message for each name that begins like a setting's and is no setting."""
    groups = {option.name.split(".")[0] for option in options()}
    for name in given:
        if name.split(".")[0] in groups:
            try:
                find(name)
            except SettingsError as error:
                yield f"parameter {error}; it is ignored"


def descriptor(option: Option) -> ParameterDescriptor:
    """The description, range and choices of a setting, as ``ros2 param describe`` shows them."""
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
