"""`deep_perception models setup-dam` and `deep_perception dam-server` as a user runs them.

setup-dam: real venv, real pip, the real list of requirements; the wheels that pip finds are
stand-ins of the right names and versions, because the true ones are gigabytes.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from deep_perception.describers.dam import environment
from support import dam_stand_in
from support.dam_place import PATIENCE_S, Place, until

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(os.name == "nt", reason="bin/python and signals as on Linux")


# -- setup-dam -----------------------------------------------------------------------------------

MODULES = {
    "torch": "class cuda:\n"
    "    @staticmethod\n    def is_available(): return {cuda}\n"
    "    @staticmethod\n    def get_device_name(): return 'NVIDIA H100'\n",
}


def pins():
    for line in environment.REQUIREMENTS.read_text().splitlines():
        pin, _, marker = line.partition("#")[0].partition(";")
        if found := re.match(r"([\w.-]+)==(\S+)", pin.strip()):
            new = sys.version_info >= (3, 11)
            if not marker or ("<" in marker) != new:
                yield found[1], found[2]


def write_wheels(folder, *, cuda=False, broken=()):
    folder.mkdir(exist_ok=True)
    for name, version in pins():
        module = name.replace("-", "_")
        text = f"__version__ = {version!r}\n" + MODULES.get(name, "").format(cuda=cuda)
        if name in broken:
            text = "raise ImportError('libcudart.so.13: cannot open shared object file')\n"
        info = f"{module}-{version}.dist-info"
        with zipfile.ZipFile(folder / f"{module}-{version}-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{module}/__init__.py", text)
            wheel.writestr(
                f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
            )
            wheel.writestr(
                f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            wheel.writestr(f"{info}/RECORD", "")
    return folder


class Shell:
    """Somebody at a shell, whose home is empty and whose pip reaches a folder of wheels alone."""

    def __init__(self, home):
        self.home, self.wheels = home, home / "wheels"
        self.variables = {
            name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ
        }
        self.variables |= {"HOME": str(home), "PYTHONPATH": str(ROOT)}
        self.variables |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.wheels)}
        self.default = home / ".local/share/deep_perception/dam"

    def start(self, *arguments, before="", **variables):
        code = f"{before}\nfrom deep_perception.cli.main import main; import sys; sys.exit(main())"
        return subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            cwd=self.home,
            env=self.variables | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments, **more):
        process = self.start(*arguments, **more)
        process.out, process.err = process.communicate(timeout=300)
        return process

    def setup(self, *arguments, **more):
        return self.run("models", "setup-dam", *arguments, **more)


@pytest.fixture
def shell(tmp_path):
    return Shell(tmp_path)


def refused(done, *words):
    assert done.returncode == 2, done.err
    line = done.err.splitlines()[-1]
    assert line.startswith("deep_perception: ")
    assert "Traceback" not in done.err
    for word in words:
        assert re.search(word, line), line
    return True


def test_setup_makes_the_environment_and_the_second_call_only_checks(shell):
    write_wheels(shell.wheels, cuda=True)
    done = shell.setup()
    assert done.returncode == 0, done.err
    *_, ready, device = done.out.splitlines()
    versions = dict(pins())
    assert ready == (
        f"{shell.default} is ready: torch {versions['torch']}, transformers "
        f"{versions['transformers']}, aiohttp {versions['aiohttp']}"
    )
    assert device == "DAM will run on: NVIDIA H100"
    assert environment.problem_of(shell.default) == ""

    write_wheels(shell.wheels, broken=["torch"])  # would be seen, were anything installed
    done = shell.setup()
    assert (done.returncode, done.out.splitlines()) == (0, [ready, device])


def test_setup_without_cuda_says_so(shell):
    write_wheels(shell.wheels)
    done = shell.setup("--environment", "here", "--python", sys.executable)
    assert done.returncode == 0, done.err
    assert done.out.splitlines()[-1].startswith("no CUDA device is here: DAM needs one")
    assert environment.problem_of(shell.home / "here") == ""


def test_what_was_interrupted_is_not_finished_and_goes_on(shell):
    write_wheels(shell.wheels)
    # pip waits for a lock of this test while it builds a wheel's metadata: here, a pipe as a wheel.
    name, version = next(pins())
    wheel = shell.wheels / f"{name}-{version}-py3-none-any.whl"
    whole = wheel.read_bytes()
    wheel.unlink()
    os.mkfifo(wheel)
    process = shell.start("models", "setup-dam")
    with contextlib.suppress(BrokenPipeError):
        pipe = open(wheel, "wb")  # noqa: SIM115, PTH123 returns once pip reads
        os.killpg(process.pid, signal.SIGINT)  # Ctrl-C at a terminal reaches the whole group
        _, err = process.communicate(timeout=PATIENCE_S)
        pipe.close()
    assert process.returncode == 2
    assert err.splitlines()[-1].startswith("deep_perception: interrupted; run the same command")
    assert environment.problem_of(shell.default).endswith("is not finished")
    wheel.unlink()
    wheel.write_bytes(whole)
    assert shell.setup().returncode == 0
    assert environment.problem_of(shell.default) == ""


def test_other_pins_make_the_environment_an_old_one(shell):
    write_wheels(shell.wheels)
    assert shell.setup().returncode == 0
    record = shell.default / environment.RECORD
    record.write_text(json.dumps({"requirements": "of an older version"}))
    assert "of another version" in environment.problem_of(shell.default)
    assert shell.setup().returncode == 0
    assert environment.problem_of(shell.default) == ""


def test_libraries_that_do_not_work_are_not_called_ready(shell):
    write_wheels(shell.wheels, broken=["torch"])
    assert refused(shell.setup(), "libraries do not work .*libcudart", "delete the folder")
    assert "not finished" in environment.problem_of(shell.default)


def test_no_network(shell):
    shell.wheels.mkdir()
    assert refused(shell.setup(), "pip ended with status 1, see above; run the same command again")


@pytest.mark.parametrize("version", ["3 9", "3 14", "2 7"])
def test_a_python_that_is_too_old_or_too_new(shell, version):
    python = shell.home / "python"
    python.write_text(f"#!/bin/sh\necho {version}\n")
    python.chmod(0o755)
    words = f"is Python {version.replace(' ', '.')}; DAM needs 3.10 to 3.13: name one with --python"
    assert refused(shell.setup("--python", python), words)
    assert not shell.default.exists()


@pytest.mark.parametrize("python", ["/no/such/python", "/bin/true", "/etc/passwd"])
def test_a_python_that_is_none(shell, python):
    assert refused(shell.setup("--python", python), f"{python} is not a Python interpreter")


def test_a_disk_that_is_too_small(shell):
    before = "from deep_perception.describers.dam import environment as e; e.NEEDED_BYTES = 10**18"
    done = shell.setup(before=before)
    assert refused(done, "the disk has .* free and torch with CUDA needs about", "--environment")


def test_folders_of_others_are_not_touched(shell):
    (shell.home / "photos").mkdir()
    (shell.home / "photos" / "cat.jpg").write_bytes(b"cat")
    (shell.home / "file").write_text("mine")
    assert refused(shell.setup("--environment", "photos"), "was not made by this command")
    assert refused(shell.setup("--environment", "file"), "is a file")
    assert refused(shell.setup("--environment", "file/below"), "file/below: Not a directory")
    assert [entry.name for entry in (shell.home / "photos").iterdir()] == ["cat.jpg"]


def test_an_installed_package_has_the_list(tmp_path):
    """Built as pip and colcon build it; the list is package data."""
    pytest.importorskip("setuptools", reason="setuptools builds it; run with: tools/with_ros")
    wheel = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q"]
    source = tmp_path / "source"
    names = ("setup.py", "setup.cfg", "pyproject.toml", "README.md", "package.xml")
    folders = ("deep_perception", "resource", "launch", "config")
    source.mkdir()
    for name in (*names, *folders):
        subprocess.run(["cp", "-r", ROOT / name, source / name], check=True)
    subprocess.run([*wheel, "-w", tmp_path, "."], cwd=source, check=True, timeout=PATIENCE_S * 3)
    (built,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        there = archive.read("deep_perception/dam_server/requirements.txt")
    assert there == environment.REQUIREMENTS.read_bytes()


# -- dam-server ----------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path):
    place = Place(tmp_path)
    yield place
    for pid in place.living():
        os.kill(pid, signal.SIGKILL)


def options(place):
    return [
        part for name, value in place.values.items() for part in (f"--describer.dam.{name}", value)
    ]


def test_dam_server_becomes_the_server(shell, place, tmp_path):
    (tmp_path / "settings.yaml").write_text(
        "/**:\n  ros__parameters:\n    describer.dam.max_batch: 2\n    points.grid_rows: 3\n"
    )
    process = shell.start(
        "dam-server",
        *options(place),
        *("--settings", "settings.yaml"),
        *("--describer.dam.device", "cpu", "--describer.temperature", "0.5"),
        LD_LIBRARY_PATH="/of/the/caller",
    )
    try:
        assert until(place.listening) == process.pid  # the same process
        (start,) = dam_stand_in.starts(place.environment)
        given = start["options"]
        assert (given["device"], given["max_batch"], given["temperature"]) == ("cpu", "2", "0.5")
        assert not given["with_parent"]
        assert not start["variables"].keys() & {"LD_LIBRARY_PATH", "PYTHONPATH"}
    finally:
        process.terminate()
        _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err


def test_dam_server_says_what_is_missing(shell, place):
    (place.checkpoint / "config.json").unlink()
    done = shell.run("dam-server", *options(place))
    assert refused(done, f"DAM has no checkpoint at {place.checkpoint}; run: deep_")
    done = shell.run("dam-server")
    assert refused(
        done, f"no environment at {shell.default}; run: deep_perception models setup-dam$"
    )
    done = shell.run("dam-server", "--describer.dam.url", "nowhere")
    assert refused(done, r"describer\.dam\.url: 'nowhere' is no address")
    done = shell.run("dam-server", "--describer.dam.device", "tpu")
    assert done.returncode == 2
    assert "invalid choice: 'tpu'" in done.err
    assert place.pids() == []


def test_code_that_is_not_what_was_fetched_is_not_run(shell, place):
    digest = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"  # of {}
    (place.checkpoint / "models.lock.json").write_text(
        json.dumps(
            {
                "revision": "1f" * 20,
                "checked_against": "hub",
                "files": {
                    "config.json": {"size": 2, "sha256": digest},
                    "llm/code.py": {"size": 2, "sha256": digest},
                },
            }
        )
    )
    assert refused(shell.run("dam-server", *options(place)), "llm/code.py is missing; run: deep_")
    (place.checkpoint / "llm").mkdir()
    (place.checkpoint / "llm" / "code.py").write_text("[]")
    done = shell.run("dam-server", *options(place))
    assert refused(done, "llm/code.py has other bytes than were downloaded; run: deep_perc")
    (place.checkpoint / "llm" / "code.py").write_text("{}")
    process = shell.start("dam-server", *options(place))
    try:
        assert until(place.listening) == process.pid
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE_S)


def test_an_unfinished_environment_is_not_used(shell, place):
    (place.environment / environment.RECORD).write_text('{"requirements": ""}')
    done = shell.run("dam-server", *options(place))
    assert refused(done, f"is not finished; run: .* setup-dam --environment {place.environment}")
    assert place.pids() == []
