"""The settings tree as ROS parameters: declare, describe and validate them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rcl_interfaces.srv import (
    DescribeParameters,
    GetParameters,
    GetParameterTypes,
    ListParameters,
    SetParameters,
    SetParametersAtomically,
)
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from deep_perception.redaction.addresses import shown
from deep_perception.redaction.output import clean_line
from deep_perception.ros import rclpy_internals
from deep_perception.ros.log import RareWarning
from deep_perception.settings import Scalar, Settings
from deep_perception.settings.options import Option, SettingsError, find, options, settings_from
from deep_perception.untrusted.text import printable

# A ROS range has two ends; these mean that there is no limit on one side.
INT_LIMIT, FLOAT_LIMIT = 2**31 - 1, 1e12
# A parameter of every node. Together with a /clock of one's own it would set a node back in time.
SIM_TIME = "use_sim_time"
# Names in one request; `ros2 param load` and `ros2 param dump` send those of all parameters.
MOST_NAMES = 300
_LISTS = {
    DescribeParameters: "names",
    GetParameters: "names",
    GetParameterTypes: "names",
    ListParameters: "prefixes",
    SetParameters: "parameters",
    SetParametersAtomically: "parameters",
}


class SettingsParameters:
    """The parameters of a node that are its settings.

    Services change what is no *trusted* setting: nobody knows who calls them. What is loaded does
    not change while the node is configured, and a number stays in the range for services, which
    contains the value that was given at the start. Changes are validated as a whole before any of
    them takes effect.
    """

    def __init__(
        self,
        *,
        node: Node,
        on_change: Callable[[Settings], None],
        is_configured: Callable[[], bool],
    ) -> None:
        """Declare every setting. ``on_change`` gets the settings after each change.

        Raises SettingsError if a value given at the start is not allowed.
        """
        self._node = node
        self._on_change = on_change
        self._is_configured = is_configured
        given = rclpy_internals.given_parameters(node)
        self.settings = settings_from(
            {option.name: _declare(node, option, given.get(option.name)) for option in options()}
        )
        self._descriptors = {
            option.name: descriptor(option, given.get(option.name)) for option in options()
        }
        for message in _misspelt(given):
            node.get_logger().warning(message)
        node.set_descriptor(
            SIM_TIME,
            ParameterDescriptor(
                name=SIM_TIME,
                type=Parameter.Type.BOOL.value,
                description="use the time of /clock [trusted: set at the start of the process]",
                read_only=True,
            ),
        )
        _limit_requests(node)
        node.add_on_set_parameters_callback(self._validate)
        node.add_post_set_parameters_callback(self._apply)

    def refusal(self, parameters: Iterable[Parameter]) -> str:
        """Return why a service cannot change one of these and what to do instead, or ""."""
        if not self.settings.ros.remote_control:
            return (
                "services change nothing here: the node was started with ros.remote_control false"
            )
        for parameter in parameters:
            if parameter.name == SIM_TIME or (
                parameter.name in self._descriptors and find(parameter.name).trusted
            ):
                return (
                    f"{parameter.name} is trusted: no service can change it. Start the node again "
                    f"with `-p {parameter.name}:=VALUE`, or with the value in its params file"
                )
            if parameter.name not in self._descriptors:
                continue
            option = find(parameter.name)
            if option.read_only and self._is_configured():
                node = self._node.get_fully_qualified_name()
                return (
                    f"{option.name} is fixed while the node is configured; first "
                    f"`ros2 lifecycle set {node} deactivate` and `ros2 lifecycle set {node} "
                    "cleanup`"
                )
            if reason := self._out_of_range(option, parameter.value):
                return reason
        return ""

    def _out_of_range(self, option: Option, value: object) -> str:
        described = self._descriptors[option.name]
        ranges = [*described.integer_range, *described.floating_point_range]
        # Another type and NaN are refused by rclpy and as a setting.
        if not ranges or isinstance(value, bool) or not isinstance(value, int | float):
            return ""
        low, high = ranges[0].from_value, ranges[0].to_value
        if not (value < low or value > high):
            return ""
        reason = f"{option.name}: {value} is not allowed; expected {option.expected}"
        if option.of_services:
            reason += (
                f", of which a service can set {low:g} to {high:g}. For another value start the "
                f"node again with `-p {option.name}:=VALUE`, or with the value in its params file"
            )
        return reason

    def _changed(self, parameters: Sequence[Parameter]) -> dict[str, object]:
        return {item.name: item.value for item in parameters if item.name in self._descriptors}

    def _validate(self, parameters: Sequence[Parameter]) -> SetParametersResult:
        reason = self.refusal(parameters)
        if not reason:
            try:
                settings_from(self._changed(parameters), self.settings)
            except SettingsError as error:
                reason = str(error)
        return SetParametersResult(successful=not reason, reason=clean_line(reason))

    def _apply(self, parameters: Sequence[Parameter]) -> None:
        if changed := self._changed(parameters):
            self.settings = settings_from(changed, self.settings)
            self._on_change(self.settings)


def _limit_requests(node: Node) -> None:
    """Answer a request about very many parameters with nothing.

    rclpy would handle them one by one, for minutes in which no image arrives.
    """
    refused = RareWarning(node)

    def limited(answer: Callable[[Any, Any], Any], field: str) -> Callable[[Any, Any], Any]:
        def guarded(request: Any, response: Any) -> Any:
            count = len(getattr(request, field))
            if count <= MOST_NAMES:
                return answer(request, response)
            refused.log(
                f"a request about {count} parameters is not answered; at most {MOST_NAMES} are"
            )
            return response

        return guarded

    for service in node.services:
        if field := _LISTS.get(service.srv_type):
            service.callback = limited(service.callback, field)


def _declare(node: Node, option: Option, given: Scalar | None) -> Scalar:
    """Declare a setting, and return its value."""
    described = descriptor(option, given)
    if isinstance(given, str) and option.name.endswith(".url"):
        # Every node of the graph can read a parameter: a password in it is not shown.
        node.declare_parameter(option.name, shown(given), described, ignore_override=True)
        return given
    try:
        value: Scalar = node.declare_parameter(option.name, option.default, described).value
    except (InvalidParameterTypeException, InvalidParameterValueException):
        message = f"{option.name}: {printable(repr(given))} is not allowed; "
        message += f"expected {option.expected}"
        if option.kind is float and isinstance(given, int):
            message += f"; ROS requires {float(given)} for a number of this kind"
        raise SettingsError(clean_line(message)) from None
    return value


def _misspelt(given: Iterable[str]) -> Iterator[str]:
    """A message for each name that begins like a setting's and is no setting."""
    groups = {option.name.split(".")[0] for option in options()}
    for name in given:
        if name.split(".")[0] in groups:
            try:
                find(name)
            except SettingsError as error:
                yield f"parameter {error}; it is ignored"


def descriptor(option: Option, given: Scalar | None = None) -> ParameterDescriptor:
    """The description, range and choices of a setting, as ``ros2 param describe`` shows them.

    The range is the one for services, and contains the value that was given at the start.
    """
    limited = f"; {option.of_services}" if option.of_services else ""
    message = ParameterDescriptor(
        name=option.name,
        description=f"{option.help} [{option.expected}{limited}]",
        read_only=option.trusted,
        additional_constraints=option.expected if option.choices else "",
    )
    low, high = option.live_at_least, option.live_at_most
    if low is None and high is None:
        return message
    limit = INT_LIMIT if option.kind is int else FLOAT_LIMIT
    ends = [
        option.kind(-limit if low is None else low),
        option.kind(limit if high is None else high),
    ]
    if type(given) is option.kind and given == given:
        ends = [min(*ends, given), max(*ends, given)]
    if option.kind is int:
        message.integer_range = [
            IntegerRange(from_value=ends[0], to_value=ends[1], step=option.step)
        ]
    else:
        message.floating_point_range = [FloatingPointRange(from_value=ends[0], to_value=ends[1])]
    return message
