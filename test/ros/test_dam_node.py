"""The `dam` describer, from the node's parameter to descriptions in a message.

The server is the real one, in its own environment and started by the node; the model is the tiny
random one of dam_checkpoint.py, loaded as DAM is.
"""

import json
import os
import signal
import subprocess
import urllib.request
from pathlib import Path

import cv2
import pytest
from sensor_msgs.msg import Image

from deep_perception_msgs.msg import DescribedRegionArray
from support.chat_scene import free_port
from support.dam_server_process import PYTHON, make_checkpoint
from support.graph import LATCHED

pytestmark = pytest.mark.dam

PHOTO = cv2.resize(cv2.imread(str(Path(__file__).parents[1] / "data" / "coffee.jpg")), (320, 240))
# Loading torch and a model takes minutes on a small machine.
PATIENCE_S = 180.0


@pytest.fixture(scope="module")
def port():
    return free_port()


@pytest.fixture(scope="module")
def node(start_module_node, tmp_path_factory, port):
    folder = tmp_path_factory.mktemp("dam")
    names = {name: str(folder / name) for name in ("journal", "gate", "load_gate")}
    checkpoint = make_checkpoint(folder / "DAM-3B-Self-Contained", **names)
    return start_module_node(
        remaps=["__ns:=/dam"],
        **{
            "describer.backend": "dam",
            "describer.dam.environment": Path(PYTHON).parents[1],
            "describer.dam.checkpoint": checkpoint,
            "describer.dam.device": "cpu",
            "describer.dam.url": f"http://127.0.0.1:{port}/v1",
            "describer.dam.max_tokens": 16,
            "describer.region_timeout_s": 120.0,
            "sweep.max_regions": 6,
            # Every frame is described afresh.
            "keyframes.mode": "interval",
            "identity.words_ttl_s": 0.0,
        },
    )


@pytest.fixture(scope="module")
def scenes(graph, node):
    return graph.listen(DescribedRegionArray, "/dam/analyzer/regions", LATCHED)


@pytest.fixture(scope="module")
def camera(graph, node):
    return graph.publisher(Image, "/dam/image")


def health(port):
    # No proxy: it is this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}/health", timeout=10) as answer:
        return json.load(answer)


def server_of(node):
    """The process id of the server that the node started."""
    found = subprocess.run(
        ["pgrep", "-P", str(node.pid), "-f", "dam_server"], capture_output=True, text=True
    )
    return int(found.stdout) if found.stdout.strip() else None


def by_dam(scenes):
    """The newest scene in which DAM described regions, if every region was DAM's."""
    for scene in reversed(scenes):
        done = {(region.status, region.describer) for region in scene.regions}
        if ("described", "dam") in done and done <= {("described", "dam"), ("failed", "dam")}:
            return scene
    return None


def test_the_fallback_describes_while_the_model_loads_and_then_dam_does(
    graph, node, camera, scenes, port
):
    graph.analysed(camera, scenes, graph.image(PHOTO))
    first = graph.until(
        lambda: next((s for s in scenes if all(r.status != "pending" for r in s.regions)), None),
        "descriptions",
    )
    assert {region.status for region in first.regions} <= {"described", "reused"}
    if first.regions[0].describer == "attributes":
        assert "the DAM server is" in first.warnings[0]
    # No other frame is needed: the node asks the server until it is ready.
    scene = graph.until(
        lambda: (found := by_dam(scenes)) and not found.warnings and found,
        lambda: f"descriptions of DAM; {node.log}",
        PATIENCE_S,
    )
    for region in scene.regions:
        assert (region.status == "described") == bool(region.description)
        assert (region.status == "failed") == bool(region.error)
        assert region.model == "describe_anything_model"
        assert len(region.prompt_id) == 12
    assert list(scene.warnings) == []
    assert health(port)["described"] >= len(scene.regions)


def test_a_server_that_dies_is_started_again(graph, node, camera, scenes, port):
    before = graph.until(lambda: server_of(node), "the server's process")
    os.kill(before, signal.SIGKILL)
    graph.until(lambda: server_of(node) not in (None, before), "another server", PATIENCE_S)
    scenes.clear()
    flipped = cv2.flip(PHOTO, 1)  # the regions need new descriptions

    scene = graph.publish_until(
        camera,
        lambda: graph.image(flipped),
        lambda: by_dam(scenes),
        lambda: f"descriptions of the new server; {node.log}",
        period_s=5.0,
        patience=PATIENCE_S,
    )
    assert scene.regions


def test_the_server_ends_with_the_node(graph, node, camera, scenes, port):
    server = server_of(node)
    assert node.stop() == 0
    graph.until(lambda: not Path(f"/proc/{server}").exists(), "the end of the server")
    assert "Traceback" not in node.log
