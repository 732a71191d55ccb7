"""``deep_perception doctor``: what is right, what is wrong, and what to do."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Any

from deep_perception.doctor import Finding
from deep_perception.redaction.output import clean_line, print_json, print_line
from deep_perception.settings import Settings

OK, FAILED = 0, 1


def add_doctor_command(commands: Any) -> argparse.ArgumentParser:
    """Add `doctor` to the commands. The caller adds the options of the settings."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "doctor",
        allow_abbrev=False,
        usage="%(prog)s [OPTION ...]",
        help="look at the environment and the running nodes, and say what is wrong",
        description="Look at this Python, the backends and weights, the describer's server and, "
        "with ROS 2 sourced, the image topics and the analyzer nodes that run. Each line says what "
        "is right, what is worth knowing or what is wrong, and what to do. Takes a few seconds; a "
        "chat server in use gets one request with a small image. The exit code is 1 if something "
        "is wrong.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def run_doctor(chosen: argparse.Namespace, settings: Settings) -> int:
    """Print all findings, and return 1 if something is wrong."""
    findings = [
        dataclasses.replace(each, what=clean_line(each.what), remedy=clean_line(each.remedy))
        for each in examine(settings)
    ]
    wrong = sum(each.level == "wrong" for each in findings)
    if chosen.json:
        content = {"wrong": wrong, "findings": [dataclasses.asdict(each) for each in findings]}
        print_json(content)
    else:
        for line in as_lines(findings):
            print_line(line)
    return FAILED if wrong else OK


def examine(settings: Settings) -> list[Finding]:
    """Find out everything, with the backends of the first running node, if there is one."""
    from deep_perception.doctor.claims import like_the_node
    from deep_perception.doctor.environment import check_environment
    from deep_perception.doctor.server import SECTION, check_server

    graph, nodes = _guarded("ROS", _check_graph, ([], []))
    claims: list[Finding] = []
    if nodes:
        settings, claims = like_the_node(nodes[0], settings)
    here, _ = _guarded("Python", lambda: (list(check_environment(settings)), None), ([], None))
    server, _ = _guarded(SECTION, lambda: (list(check_server(settings)), None), ([], None))
    return [*here, *server, *claims, *graph]


def as_lines(findings: list[Finding]) -> Iterator[str]:
    """Yield the findings by section, one line each, what to do below it, and their sum."""
    for section, group in groupby(findings, key=lambda each: each.section):
        yield section
        for each in group:
            yield f"  {each.level:<6}{each.what}"
            if each.remedy:
                yield f"        -> {each.remedy}"
    wrong = sum(each.level == "wrong" for each in findings)
    yield ""
    yield f"{wrong} wrong" if wrong else "nothing is wrong"


def _check_graph() -> tuple[list[Finding], list[dict[str, Any]]]:
    if importlib.util.find_spec("rclpy") is None:
        remedy = "source /opt/ros/DISTRO/setup.bash and the workspace, or in a checkout: "
        remedy += "tools/with_ros deep_perception doctor"
        what = "ROS 2 is not in this shell; analyze and replay work without it"
        return [Finding(section="ROS", level="note", what=what, remedy=remedy)], []
    try:
        import vision_msgs.msg

        import deep_perception_msgs.msg

        _ = deep_perception_msgs.msg.DescribedRegion, vision_msgs.msg.Detection2DArray
    except (ImportError, AttributeError) as error:
        what = f"the interface packages are not built or not sourced ({error})"
        remedy = "colcon build, then source install/setup.bash; or tools/with_ros in a checkout"
        interfaces = [Finding(section="ROS", level="wrong", what=what, remedy=remedy)]
    else:
        interfaces = []
    from deep_perception.ros.doctor import check_graph

    found, nodes = check_graph()
    return [*interfaces, *found], nodes


def _guarded(section: str, check: Callable[[], tuple[Any, Any]], nothing: tuple[Any, Any]) -> Any:
    """Run a check; one that fails must not hide the results of the others."""
    try:
        return check()
    except Exception as error:
        what = f"cannot be checked: {type(error).__name__}: {error}"
        return [Finding(section=section, level="wrong", what=what)], nothing[1]
