"""The SROS 2 policies of config/sros2: what they allow, and that a secured graph keeps to them."""

import shutil
import subprocess
import xml.etree.ElementTree as ET
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.srv import SetParameters
from sensor_msgs.msg import Image

from support import secured_peers as peers
from support.graph import UNWATCHED

pytestmark = pytest.mark.ros

POLICIES = Path(__file__).parents[2] / "config" / "sros2"
# As the comments of the policies and docs/node.md have it.
CAMERAS = {
    "one_camera": ({}, ["image:=/camera/image_raw"]),
    "cameras": (
        {"ros.cameras": "front,rear"},
        ["front/image:=/front_camera/image_raw", "rear/image:=/rear_camera/image_raw"],
    ),
}


def enclaves(policy):
    """The paths of the enclaves of a policy."""
    root = ET.parse(POLICIES / f"{policy}.policy.xml").getroot()
    return [enclave.get("path") for enclave in root.iter("enclave")]


def allowed(policy, enclave, right):
    """The names, with patterns, for which an enclave of a policy has a right."""
    root = ET.parse(POLICIES / f"{policy}.policy.xml").getroot()
    (profile,) = root.findall(f".//enclave[@path='/deep_perception/{enclave}']/profiles/profile")
    own = profile.get("ns") + profile.get("node")
    names = [name.text for group in profile if group.get(right) == "ALLOW" for name in group]
    assert all(name[0] in "/~" for name in names)
    return {name.replace("~", own) for name in names}


def unmatched(names, patterns):
    """The names that no pattern matches."""
    return {name for name in names if not any(fnmatchcase(name, each) for each in patterns)}


@pytest.mark.parametrize("policy", CAMERAS)
def test_a_policy_allows_exactly_what_the_node_does(policy, graph, start_node):
    parameters, remaps = CAMERAS[policy]
    start_node(remaps=remaps, use_sim_time=True, **parameters)
    node = graph.node

    def subscribed():
        if "analyzer" not in node.get_node_names():
            return []
        return node.get_subscriber_names_and_types_by_node("analyzer", "/")

    # The last one that an activation makes.
    last = remaps[-1].partition("=")[2]
    graph.until(lambda: last in dict(subscribed()), "the node to be active")
    published = node.get_publisher_names_and_types_by_node("analyzer", "/")
    served = node.get_service_names_and_types_by_node("analyzer", "/")
    called = node.get_client_names_and_types_by_node("analyzer", "/")
    assert not called
    for right, does in (("publish", published), ("reply", served), ("subscribe", subscribed())):
        names, patterns = {name for name, _ in does}, allowed(policy, "analyzer", right)
        assert not unmatched(names, patterns), f"not allowed to {right}"
        if right == "subscribe":  # either one, as the camera publishes it
            names |= {f"{name}/compressed" for name in names}
        needless = {each for each in patterns if not any(fnmatchcase(name, each) for name in names)}
        assert not needless, f"needless: {right}"

    outputs = {name for name, _ in published if name.startswith("/analyzer/")}
    unseen = unmatched(outputs, allowed(policy, "viewer", "subscribe"))
    assert unseen == {"/analyzer/transition_event"}
    assert allowed(policy, "viewer", "request") == {"/analyzer/get_scene", "/analyzer/get_state"}
    services = {name for name, _ in served}
    assert services - allowed(policy, "operator", "request") == {
        "/analyzer/get_scene",
        "/analyzer/get_type_description",
    }


# -- a graph with DDS Security, where there is one ------------------------------------------------


def keystore(path, policy):
    """Make a keystore of a policy with `ros2 security`, as docs/security.md says."""

    def ros2_security(*arguments):
        subprocess.run(["ros2", "security", *arguments], check=True, timeout=60)

    ros2_security("create_keystore", path)
    for enclave in enclaves(policy):
        ros2_security("create_enclave", path, enclave)
        ros2_security("create_permission", path, enclave, POLICIES / f"{policy}.policy.xml")
    return path


@pytest.fixture
def join():
    """Join the graph with a node of that name; it leaves at the end of the test."""
    joined = []

    def as_node(name, environment=None):
        joined.append(peers.Peer(name, environment or {}))
        return joined[-1]

    yield as_node
    for each in joined:
        each.close()


@pytest.fixture
def stores(tmp_path, join):
    """The keystore of the robot and that of somebody else, for the same policy."""
    if not shutil.which("ros2") or "security" not in subprocess.getoutput("ros2 --help"):
        pytest.skip("NOT TRIED: DDS Security. There is no `ros2 security` (package sros2) here")
    robot, other = (keystore(tmp_path / name, "one_camera") for name in ("robot", "other"))
    try:
        join("viewer", peers.enclave(robot, "viewer")).close()
    except PermissionError as error:
        if "security libraries" not in str(error):
            raise
        pytest.skip(f"NOT TRIED: DDS Security, which this middleware does not have: {error}")
    return robot, other


@pytest.mark.slow
@pytest.mark.by_hand
def test_a_secured_graph_lets_in_who_has_an_enclave_and_to_what_it_may_do(
    stores, start_node, join, monkeypatch
):
    robot, other = stores

    def start(environment):
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            return start_node(remaps=["image:=/camera/image_raw"], **UNWATCHED)

    node = start(peers.enclave(robot, "analyzer"))
    camera = join("camera", peers.enclave(robot, "camera"))
    viewer = join("viewer", peers.enclave(robot, "viewer"))

    # The camera's images are analysed, and a viewer sees the scene.
    viewer.do(peers.listen)
    regions = None
    while regions is None:
        camera.do(peers.publish_image)
        regions = viewer.do(peers.regions_of_first_scene)
        assert node.is_running, node.log
    assert regions

    # It may ask for the scene and do nothing else.
    assert viewer.do(peers.ask_for_scene)
    assert not viewer.do(peers.may_call, SetParameters, "/analyzer/set_parameters")
    assert not viewer.do(peers.may_call, ChangeState, "/analyzer/change_state")
    assert not viewer.do(peers.may_publish, Image, peers.IMAGES)

    # Others see a node of theirs of the same name, and not this one: not without an enclave, and
    # not with keys of their own.
    for stranger_is, decoy_is in (
        ({}, {}),
        (peers.enclave(other, "operator"), peers.enclave(other, "analyzer")),
    ):
        start(decoy_is)
        stranger = join("_ros2cli_1", stranger_is)
        assert stranger.do(peers.set_parameter, "points.grid_rows", 5)
        assert stranger.do(peers.node_names) == ["_ros2cli_1", "analyzer"]

    # An operator may change it.
    operator = join("_ros2cli_3", peers.enclave(robot, "operator"))
    assert operator.do(peers.parameter, "points.grid_rows") == 12
    assert operator.do(peers.set_parameter, "points.grid_rows", 8)
    request = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_DEACTIVATE))
    assert operator.do(peers.change_state, ChangeState, request)
