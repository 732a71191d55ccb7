"""What a peer of the graph can do to a node with its services: nothing but what they are for."""

import pytest
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterType, ParameterValue
from rcl_interfaces.srv import (
    DescribeParameters,
    GetParameters,
    SetParameters,
    SetParametersAtomically,
)
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from std_srvs.srv import SetBool

from deep_perception.settings.options import options
from deep_perception_msgs.msg import DescribedRegionArray
from deep_perception_msgs.srv import GetScene
from support.actors import camera_image
from support.graph import LATCHED, UNWATCHED

pytestmark = pytest.mark.ros

NODE = "/peers/analyzer"
TRUSTED = [option for option in options() if option.trusted]
LIMITED = [option for option in options() if option.of_services and not option.trusted]
# What an attack would set, and another value of the same type for all others.
ATTACKS = {
    "describer.url": "http://attacker.example/v1",
    "describer.api_key_env": "AWS_SECRET_ACCESS_KEY",
    "describer.prompt": "/etc/passwd",
    "segmenter.backend": "http.server:test",
    "describer.backend": "os:abort",
    "describer.cache_file": "/tmp/made_by_a_peer.db",
}


def other_value(option):
    if option.name in ATTACKS:
        return ATTACKS[option.name]
    if option.choices:
        return next(choice for choice in option.choices if choice != option.default)
    return {bool: not option.default, float: 1.5, str: "other"}[option.kind]


@pytest.fixture(scope="module")
def node(start_module_node):
    return start_module_node(remaps=["__ns:=/peers"], **UNWATCHED)


@pytest.fixture
def values(graph, node):
    names = [option.name for option in options()] + ["use_sim_time"]

    def get():
        request = GetParameters.Request(names=names)
        return graph.call(GetParameters, f"{NODE}/get_parameters", request).values

    return get


def state(graph, node=NODE):
    answer = graph.call(GetState, f"{node}/get_state", GetState.Request())
    return answer.current_state.id


def change(graph, transition, node=NODE):
    request = ChangeState.Request(transition=Transition(id=transition))
    return graph.call(ChangeState, f"{node}/change_state", request, again=False).success


def set_each(graph, parameters, node=NODE):
    request = SetParameters.Request(parameters=parameters)
    return graph.call(SetParameters, f"{node}/set_parameters", request).results


def message(name, value):
    return Parameter(name, value=value).to_parameter_msg()


def test_trusted_parameters_do_not_change_in_any_state(graph, node, values):
    before = values()
    attack = [message(option.name, other_value(option)) for option in TRUSTED]
    attack.append(message("use_sim_time", True))
    undeclare = [ParameterMessage(name=each.name) for each in attack]

    def all_are_refused():
        for parameters in (attack, undeclare):
            for parameter, result in zip(parameters, set_each(graph, parameters), strict=True):
                assert not result.successful, parameter.name
                assert f"{parameter.name} is trusted" in result.reason
                assert f"`-p {parameter.name}:=VALUE`, or with the value in its params file" in (
                    result.reason
                )
        # In a set of all of them, one that is trusted makes none of them change.
        mixed = [("sweep.max_regions", 3), ("segmenter.backend", "sys:exit")]
        for changes in (mixed, mixed[::-1]):
            result = graph.set_parameters(NODE, changes)
            assert "segmenter.backend is trusted" in result.reason
        assert str(values()) == str(before)

    graph.until(lambda: state(graph) == State.PRIMARY_STATE_ACTIVE, "the start")
    all_are_refused()
    for transition in (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP):
        assert change(graph, transition)
        all_are_refused()
    for transition in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
        assert change(graph, transition)
        all_are_refused()
    scenes = graph.listen(DescribedRegionArray, f"{NODE}/regions", LATCHED)
    camera = graph.publisher(Image, "/peers/image")
    scene = graph.analysed(camera, scenes, graph.image(camera_image(1)))
    assert scene.segmenter == "superpixels"
    assert not scene.warnings
    assert node.is_running


def test_a_descriptor_says_that_a_parameter_is_trusted(graph, node):
    names = [option.name for option in options()] + ["use_sim_time"]
    request = DescribeParameters.Request(names=names)
    found = graph.call(DescribeParameters, f"{NODE}/describe_parameters", request).descriptors
    trusted = {option.name for option in TRUSTED} | {"use_sim_time"}
    for descriptor in found:
        assert descriptor.read_only == (descriptor.name in trusted)
        assert ("trusted: set at the start" in descriptor.description) == descriptor.read_only


@pytest.mark.parametrize("option", LIMITED, ids=lambda option: option.name)
def test_a_service_stays_in_a_range_that_costs_little(graph, node, values, option):
    before = values()
    for end, limit in ((option.live_at_most, option.at_most), (option.live_at_least, 0.0)):
        if end == (option.at_most if end == option.live_at_most else option.at_least):
            continue
        (result,) = set_each(graph, [message(option.name, option.kind(limit))])
        assert not result.successful
        if not option.read_only:
            assert "of which a service can set" in result.reason
            assert f"-p {option.name}:=VALUE" in result.reason
    assert str(values()) == str(before)


def test_what_was_given_at_the_start_is_in_the_range_and_no_password_is_shown(graph, start_node):
    url = "http://robot:hunter2@127.0.0.1:9/v1?key=hunter3"
    given = {"points.grid_columns": 100, "keyframes.min_interval_s": 0.0}
    node = start_node(
        remaps=["__ns:=/given"], **UNWATCHED, **given, **{"describer.url": url}
    )  # fmt: skip
    name = "/given/analyzer"
    accepted = [("points.grid_columns", 5), ("points.grid_columns", 100), ("points.grid_rows", 24),
                ("keyframes.min_interval_s", 2.0), ("keyframes.min_interval_s", 0.0),
                ("sweep.max_width", 800)]  # fmt: skip
    for each, value in accepted:
        assert graph.set_parameter(name, each, value).successful, each
    for each, value in (("points.grid_columns", 101), ("points.grid_rows", 100)):
        assert "of which a service can set 1 to" in graph.set_parameter(name, each, value).reason
    request = DescribeParameters.Request(names=list(given))
    found = graph.call(DescribeParameters, f"{name}/describe_parameters", request).descriptors
    assert found[0].integer_range[0].to_value == 100
    assert found[1].floating_point_range[0].from_value == 0.0
    request = GetParameters.Request(names=["describer.url"])
    (value,) = graph.call(GetParameters, f"{name}/get_parameters", request).values
    assert value.string_value == "http://***@127.0.0.1:9/v1"
    assert "hunter" not in node.log


def test_a_node_without_remote_control_can_only_be_asked(graph, start_node):
    node = start_node(remaps=["__ns:=/locked"], **UNWATCHED, **{"ros.remote_control": False})
    name = "/locked/analyzer"
    camera = graph.publisher(Image, "/locked/image")
    for parameter, value in (("sweep.max_regions", 1), ("ros.enabled", False),
                             ("ros.remote_control", True)):  # fmt: skip
        result = graph.set_parameter(name, parameter, value)
        assert "the node was started with ros.remote_control false" in result.reason
    answer = graph.call(SetBool, f"{name}/set_enabled", SetBool.Request(data=False))
    assert not answer.success
    assert "ros.remote_control" in answer.message
    for transition in (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_ACTIVE_SHUTDOWN):
        assert not change(graph, transition, name)
    assert state(graph, name) == State.PRIMARY_STATE_ACTIVE
    assert "which is refused: ros.remote_control is false" in node.log
    scenes = graph.listen(DescribedRegionArray, f"{name}/regions", LATCHED)
    assert len(graph.analysed(camera, scenes, graph.image(camera_image(1))).regions) > 1
    answer = graph.call(GetScene, f"{name}/get_scene", GetScene.Request())
    assert answer.success
    assert node.stop() == 0


UNKNOWN_TYPE = ParameterMessage(name="points.grid_rows", value=ParameterValue(type=200))
ARRAY = ParameterMessage(
    name="points.grid_rows",
    value=ParameterValue(
        type=ParameterType.PARAMETER_STRING_ARRAY, string_array_value=["x" * 1000] * 1000
    ),
)


@pytest.mark.parametrize(
    ("kind", "request_"),
    [
        (SetParameters, SetParameters.Request(parameters=[UNKNOWN_TYPE])),
        (SetParametersAtomically, SetParametersAtomically.Request(parameters=[UNKNOWN_TYPE])),
        (SetParameters, SetParameters.Request(parameters=[ARRAY])),
        (SetParameters, SetParameters.Request(parameters=[message("x" * 10**6, 1)])),
        (SetParameters, SetParameters.Request(parameters=[message("sweep.overlap", "\x1b" * 999)])),
        (SetParametersAtomically, SetParametersAtomically.Request()),
        (GetParameters, GetParameters.Request(names=["\n", "", "no.such"])),
        (DescribeParameters, DescribeParameters.Request(names=[""])),
        (ChangeState, ChangeState.Request(transition=Transition(id=255, label="x" * 10**5))),
    ],
)
def test_a_request_that_cannot_be_handled_costs_its_answer_only(graph, node, kind, request_):
    ends = {SetParameters: "set_parameters", SetParametersAtomically: "set_parameters_atomically",
            GetParameters: "get_parameters", DescribeParameters: "describe_parameters",
            ChangeState: "change_state"}  # fmt: skip
    graph.prepare(kind, f"{NODE}/{ends[kind]}").call_async(request_)
    assert graph.set_parameter(NODE, "sweep.max_regions", 0).successful
    assert state(graph) == State.PRIMARY_STATE_ACTIVE
    assert node.is_running
    assert "Traceback" not in node.log
    assert max(map(len, node.log.splitlines())) < 5000


BACKENDS = """
import os
import sys
from pathlib import Path
from deep_perception.segmenters.superpixels import Superpixels

class Ends(Superpixels):
    def __init__(self):
        if (Path(__file__).parent / "ends").exists():
            sys.exit("no licence")
        super().__init__()

    def close(self):
        sys.exit(3)
"""


def test_a_backend_that_ends_the_process_is_a_failed_configuration(graph, start_node, tmp_path):
    (tmp_path / "ending_backend.py").write_text(BACKENDS)
    (tmp_path / "ends").touch()
    backend = {"segmenter.backend": "ending_backend:Ends", "segmenter.fallback": "''"}
    node = start_node(
        remaps=["__ns:=/ends"], python_path=str(tmp_path), **backend, **UNWATCHED
    )  # fmt: skip
    name = "/ends/analyzer"
    assert state(graph, name) == State.PRIMARY_STATE_UNCONFIGURED
    reason = "cannot start: it ends the process (no licence)"
    graph.until(lambda: reason in node.log, "the reason")
    assert node.log.count(reason) == 1
    (tmp_path / "ends").unlink()
    for transition in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE,
                       Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP,
                       Transition.TRANSITION_CONFIGURE):  # fmt: skip
        assert change(graph, transition, name)
    assert node.stop() == 0
    assert "Traceback" not in node.log


def test_what_is_no_backend_is_not_called(graph, start_node):
    node = start_node(remaps=["__ns:=/none"], **UNWATCHED, **{"segmenter.backend": "os:abort"})
    scenes = graph.listen(DescribedRegionArray, "/none/analyzer/regions", LATCHED)
    camera = graph.publisher(Image, "/none/image")
    assert graph.analysed(camera, scenes, graph.image(camera_image(1))).segmenter == "superpixels"
    assert "segmenter 'os:abort' is a builtin_function_or_method, expected a class" in node.log
