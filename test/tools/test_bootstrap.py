"""The bootstrap in copies of the checkout's files: what it reports, and what it installs with."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KEPT = ("tools", "requirements", "deep_perception_msgs", "config")
DEAD = "http://127.0.0.1:9/simple"


@pytest.fixture
def checkout(tmp_path):
    for name in KEPT:
        shutil.copytree(ROOT / name, tmp_path / name)
    return tmp_path


def start(checkout, *arguments, python=sys.executable, **variables):
    """Run the bootstrap as if no ROS was sourced; return its exit code and what it reported."""
    away = re.compile(r"ROS|AMENT|PYTHON|PIP_|.*_PROXY$|.*_proxy$|DEEP_PERCEPTION|LD_LIBRARY|_ROS")
    env = {name: value for name, value in os.environ.items() if not away.match(name)}
    env |= {name: str(value) for name, value in variables.items()}
    command = [python, "-S", str(checkout / "tools" / "bootstrap.py"), *arguments]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stderr


def only_tools(folder, *names):
    folder.mkdir()
    for name in names:
        (folder / name).symlink_to(shutil.which(name))
    return folder


def old_pythons():
    """Whatever older Pythons this machine has; there need not be any."""
    names = [name for minor in (7, 8, 9) if (name := shutil.which(f"python3.{minor}"))]
    names += sorted(map(str, Path.home().glob(".pyenv/versions/3.[789].*/bin/python3")))
    return [name for name in names if works(name)][:3]


def works(python):
    return not subprocess.run([python, "-c", ""], stderr=subprocess.DEVNULL).returncode


@pytest.mark.parametrize("python", old_pythons() or [None])
def test_an_old_python_is_told_which_ones_will_do(checkout, python):
    if python is None:
        pytest.skip("no Python before 3.10 here")
    status, said = start(checkout, python=python)
    assert status == 1
    assert "error: Python 3.10 to 3.13 is needed" in said
    assert "PYTHON=python3.1" in said
    assert "Traceback" not in said and "SyntaxError" not in said


def test_no_compiler(checkout, tmp_path):
    status, said = start(checkout, PATH=only_tools(tmp_path / "bin", "bash"))
    assert status == 1
    assert "no gcc, no g++" in said
    assert "sudo apt install build-essential" in said
    assert not (checkout / ".venv").exists()


def test_no_cpp_compiler(checkout, tmp_path):
    tools = only_tools(tmp_path / "bin", "bash", "true")
    (tools / "gcc").symlink_to(shutil.which("true"))
    _, said = start(checkout, PATH=tools)
    assert "no g++" in said and "no gcc" not in said


def test_dead_package_index_and_dead_proxy(checkout):
    status, said = start(checkout, "requirements/oldest.txt", PIP_INDEX_URL=DEAD)
    assert status == 1
    assert f"cannot reach the package index {DEAD}" in said
    assert "PIP_INDEX_URL" in said and "HTTPS_PROXY" in said

    proxy = "http://127.0.0.1:9"
    variables = {"PIP_INDEX_URL": "https://example.invalid/simple", "https_proxy": proxy}
    status, said = start(checkout, "requirements/oldest.txt", **variables)
    assert status == 1
    assert f"through the proxy {proxy}" in said
    assert "making" not in said  # the second start goes on from where the first one stopped


def test_unknown_wheels(checkout):
    status, said = start(checkout, ROS_WHEELS="foxy")
    assert status == 1
    assert "ROS_WHEELS=foxy" in said and "jazzy, kilted" in said


def test_sourced_ros_without_its_python(checkout, tmp_path):
    variables = {"ROS_DISTRO": "jazzy", "AMENT_PREFIX_PATH": tmp_path}
    status, said = start(checkout, **variables, PYTHON=shutil.which("false"))
    assert status == 1
    assert "using the sourced ROS 2 jazzy" in said
    assert "cannot import rclpy" in said


@pytest.mark.slow
def test_half_made_environment_is_made_anew_and_a_whole_one_is_left_alone(checkout):
    (checkout / "requirements" / "none.txt").write_text("# nothing\n")
    leftover = checkout / ".venv-none" / "lib" / "half-unpacked"
    leftover.mkdir(parents=True)
    status, said = start(checkout, "requirements/none.txt")
    assert status == 0
    assert "making .venv-none" in said
    assert not leftover.exists()

    status, said = start(checkout, "requirements/none.txt")
    assert status == 0
    assert "[" not in said


def write_wheel(folder):
    """Write a package of one module, which can be installed without an index."""
    folder.mkdir()
    information = "tiny_package-1.0.dist-info"
    with zipfile.ZipFile(folder / "tiny_package-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny_package.py", "")
        wheel.writestr(
            f"{information}/METADATA", "Metadata-Version: 2.1\nName: tiny-package\nVersion: 1.0\n"
        )
        wheel.writestr(
            f"{information}/WHEEL",
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        wheel.writestr(f"{information}/RECORD", "")
    return folder


@pytest.mark.parametrize("installer", ["uv", pytest.param("pip", marks=pytest.mark.slow)])
def test_packages_are_installed_with_uv_and_with_pip_where_there_is_no_uv(
    checkout, tmp_path, installer
):
    """Without an index uv cannot be installed, so that its place decides whether it is used."""
    have = sorted(ROOT.glob(".ros/uv-*"))
    if installer == "uv":
        if not have:
            pytest.skip("this checkout was set up without uv")
        shutil.copytree(have[0], checkout / ".ros" / have[0].name)
    (checkout / "requirements" / "tiny.txt").write_text("tiny-package==1.0\n")
    index = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": write_wheel(tmp_path / "wheels")}
    status, reported = start(checkout, "requirements/tiny.txt", **index)
    assert status == 0, reported
    python = checkout / ".venv-tiny" / "bin" / "python"
    subprocess.run([python, "-c", "import tiny_package"], check=True)
    records = (checkout / ".venv-tiny").rglob("tiny_package-1.0.dist-info/INSTALLER")
    assert [path.read_text().strip() for path in records] == [installer]


def test_several_lists_make_one_environment(checkout):
    status, reported = start(checkout, DEEP_PERCEPTION_WITH="sam2,none")
    assert status == 1
    assert "DEEP_PERCEPTION_WITH=sam2,none: there is no requirements/none.txt" in reported
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        from rosenv.plan import pins
    finally:
        sys.path.pop(0)
    lists = ("dev", "hub", "chat", "browser", "ray", "sam2")
    files = [ROOT / "requirements" / f"{name}.txt" for name in lists]
    for minor in range(10, 14):
        found = pins([ROOT / "tools" / "ros" / "jazzy.txt", *files], (3, minor))
        assert {"ros-rclpy", "torch", "ray", "selenium"} <= found.keys()


def test_pins_agree_and_a_version_is_named_for_every_python():
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        from rosenv.plan import pins
    finally:
        sys.path.pop(0)
    for distro in ("jazzy", "kilted"):
        files = [ROOT / "tools" / "ros" / f"{distro}.txt", ROOT / "requirements" / "dev.txt"]
        for minor in range(10, 14):
            found = pins(files, (3, minor))  # raises where the files disagree
            assert all("==" in pin for pin in found.values())
            assert {"ros-rclpy", "numpy", "scipy", "pydantic", "pytest"} <= found.keys()
        wanted = (ROOT / "tools" / "ros" / f"{distro}_in.txt").read_text()
        for line in re.findall(r"^[a-z].*?==[^ \n]+", wanted, re.MULTILINE):
            assert re.sub(r"\[.*?\]", "", line) in found.values()
    # A list that only names another one, which lies in the package.
    for minor in range(10, 14):
        found = pins([ROOT / "requirements" / "dam.txt"], (3, minor))
        assert all("==" in pin for pin in found.values())
        assert {"torch", "transformers", "aiohttp"} <= found.keys()


@pytest.mark.ros
def test_the_missing_ros2_command_says_what_there_is(tmp_path):
    """Only in the environment from wheels, and only where no installed ros2 is in the path."""
    if not os.environ.get("DEEP_PERCEPTION_ENV", "").endswith(":wheels") or (
        "tools/ros/bin" not in (shutil.which("ros2") or "tools/ros/bin")
    ):
        pytest.skip("ROS 2 is installed")
    done = subprocess.run(
        [str(ROOT / "tools" / "with_ros"), "ros2", "topic", "list"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 127
    assert "deep_perception doctor" in done.stderr


def test_with_ros_runs_from_any_folder(tmp_path):
    done = subprocess.run(
        [str(ROOT / "tools" / "with_ros"), "pwd"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHON": str(tmp_path / "no-such-python")},
    )
    assert done.returncode != 0
    assert "no-such-python" in done.stderr
