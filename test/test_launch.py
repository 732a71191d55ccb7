"""The launch file with the real launch_ros, of which there is no wheel: needs a sourced ROS 2."""

import importlib.util
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

launch = pytest.importorskip("launch", reason="needs ros2/launch: a sourced ROS 2")
pytest.importorskip("launch_ros", reason="needs ros2/launch_ros: a sourced ROS 2")
packages = pytest.importorskip("ament_index_python.packages")

LAUNCH_FILE = Path(__file__).parents[1] / "launch" / "analyzer.launch.py"
PATIENCE_S = 40.0


@pytest.fixture(autouse=True)
def _installed():
    try:
        packages.get_package_share_path("deep_perception")
    except packages.PackageNotFoundError:
        pytest.skip("deep_perception is not installed in the sourced workspace")


def arguments():
    spec = importlib.util.spec_from_file_location("analyzer_launch", LAUNCH_FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    description = module.generate_launch_description()
    return {argument.name: argument for argument in description.get_launch_arguments()}


def test_every_argument_is_explained():
    declared = arguments()
    assert {"image", "namespace", "params_file", "log_level", "use_sim_time"} <= set(declared)
    assert all(argument.description for argument in declared.values())
    assert declared["log_level"].choices == ["debug", "info", "warn", "error", "fatal"]
    assert declared["use_sim_time"].choices == ["true", "false"]


def test_a_missing_params_file_stops_the_launch():
    if not shutil.which("ros2"):
        pytest.skip("needs ros2cli: a sourced ROS 2")
    command = ["ros2", "launch", "deep_perception", "analyzer.launch.py", "params_file:=/nope.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 1
    assert "there is no file /nope.yaml" in done.stdout + done.stderr


def test_ros2_launch_starts_and_stops_the_node(tmp_path):
    if not shutil.which("ros2"):
        pytest.skip("needs ros2cli: a sourced ROS 2")
    log = tmp_path / "log.txt"
    command = ["ros2", "launch", "deep_perception", "analyzer.launch.py"]
    with log.open("w") as stream:
        process = subprocess.Popen(
            [*command, "namespace:=robot", "name:=eyes", "image:=/front/image_raw"],
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # A test run in the background has SIGINT ignored, and its children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    try:
        deadline = time.monotonic() + PATIENCE_S
        expected = "waiting for images on /front/image_raw; publishing under /robot/eyes/"
        while expected not in log.read_text() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert expected in log.read_text()
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(timeout=PATIENCE_S) == 0
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert "Traceback" not in log.read_text()
    assert "process has finished cleanly" in log.read_text()
