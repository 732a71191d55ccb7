"""The layout for Foxglove and Lichtblick is valid, and its topics exist."""

import json
from collections import Counter
from pathlib import Path

import pytest

from support.graph import Diagnostics

pytestmark = pytest.mark.ros

ROOT = Path(__file__).parents[2]
LAYOUT = json.loads((ROOT / "config" / "foxglove.json").read_text())
# What a panel can show, by its type.
SHOWS = {
    "Image": {"sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"},
    "DiagnosticSummary": {"diagnostic_msgs/msg/DiagnosticArray"},
    "DiagnosticStatusPanel": {"diagnostic_msgs/msg/DiagnosticArray"},
}


def panels(tree):
    """The panels of a layout tree, as Foxglove reads it."""
    if isinstance(tree, str):
        return [tree]
    assert set(tree) == {"direction", "splitPercentage", "first", "second"}
    assert tree["direction"] in ("row", "column")
    assert 0 < tree["splitPercentage"] < 100
    return panels(tree["first"]) + panels(tree["second"])


def topic(config):
    return (
        config.get("topicToRender")
        or config.get("topicPath", "").split(".")[0]
        or config["imageMode"]["imageTopic"]
    )


def test_each_panel_has_its_place_and_its_settings():
    placed = panels(LAYOUT["layout"])
    assert len(placed) == len(set(placed))
    assert set(placed) == set(LAYOUT["configById"])
    kinds = Counter(name.split("!")[0] for name in placed)
    assert kinds == {
        "Image": 2, "RawMessages": 2, "DiagnosticSummary": 1, "DiagnosticStatusPanel": 1
    }  # fmt: skip
    assert {"globalVariables", "userNodes", "playbackConfig"} < set(LAYOUT)


def test_each_topic_is_one_of_a_running_node(graph, start_node):
    # As the launch file starts it.
    start_node(remaps=["image:=camera/image_raw"])
    diagnostics = Diagnostics(graph, "/analyzer")
    graph.until(lambda: diagnostics.last(), "the node")
    graph.until(lambda: "/camera/image_raw" in topics(graph), "its subscription")
    found = topics(graph)
    for name, config in LAYOUT["configById"].items():
        kind = name.split("!")[0]
        assert topic(config) in found, (name, sorted(found))
        assert found[topic(config)] <= SHOWS.get(kind, found[topic(config)])
    selected = LAYOUT["configById"]["DiagnosticStatusPanel!analyzer"]["selectedHardwareId"]
    assert diagnostics.last().hardware_id == selected


@pytest.mark.parametrize("path", ["/analyzer/region_updates.description", "/analyzer/regions"])
def test_each_path_is_one_of_the_message(path):
    from deep_perception_msgs.msg import DescribedRegion, DescribedRegionArray

    of = {"region_updates": DescribedRegion, "regions": DescribedRegionArray}
    paths = [panel.get("topicPath") for panel in LAYOUT["configById"].values()]
    assert path in paths
    name, *fields = path.removeprefix("/analyzer/").split(".")
    assert all(field in of[name].get_fields_and_field_types() for field in fields)


def topics(graph):
    return {name: set(types) for name, types in graph.node.get_topic_names_and_types()}


def test_it_is_installed():
    assert "config/foxglove.json" in (ROOT / "setup.py").read_text()
