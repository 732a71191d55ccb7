"""`deep_perception models setup-dam` and `deep_perception dam-server` as a user runs them.

setup-dam: the first environment is made with the real venv, the real pip and the real list of
requirements. The wheels that pip finds are stand-ins with the right names and versions, because
the true ones are gigabytes. The other environments get a copy of the first one's pip, as ensurepip
takes 5 s of CPU time, and the three requirements that the command looks at.

This file is longer than 300 lines because its tests share that first environment.
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
from support.forked_cli import forked_cli

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(os.name == "nt", reason="bin/python and signals as on Linux")


# -- setup-dam -----------------------------------------------------------------------------------

LIBRARIES = ("torch", "transformers", "aiohttp")
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
    """A user at a shell, whose home is empty and whose pip finds a folder of wheels only."""

    def __init__(self, home):
        self.home, self.wheels = home, home / "wheels"
        self.variables = {
            name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ
        }
        self.variables |= {"HOME": str(home), "PYTHONPATH": str(ROOT)}
        self.variables |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.wheels)}
        self.default = home / ".local/share/deep_perception/dam"
        self.before, self.python = "", sys.executable

    def start(self, *arguments, before="", **variables):
        return forked_cli(
            arguments,
            cwd=self.home,
            env=self.variables | variables,
            before=self.before + before,
        )

    def run(self, *arguments, **more):
        process = self.start(*arguments, **more)
        process.communicate(timeout=300)
        return process

    def setup(self, *arguments, **more):
        return self.run("models", "setup-dam", *arguments, **more)


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """The shell and the result of the first `setup-dam`, with nothing replaced but the wheels."""
    shell = Shell(tmp_path_factory.mktemp("first"))
    write_wheels(shell.wheels, cuda=True)
    return shell, shell.setup()


@pytest.fixture
def shell(tmp_path):
    return Shell(tmp_path)


QUICK_PYTHON = """#!/bin/sh
[ "$1 $2 $3" = "-I -m venv" ] || exec {python} "$@"
{python} -m venv --without-pip "$4" && cp -r {pip} "$4"/lib/python*/site-packages
"""


@pytest.fixture
def quick_shell(shell, first, monkeypatch):
    """A shell whose `python -m venv` copies a pip, and for which the requirements are few."""
    (pip,) = first[0].default.glob("lib/python*/site-packages/pip")
    python = shell.home / "quick_python"
    python.write_text(QUICK_PYTHON.format(python=sys.executable, pip=pip))
    python.chmod(0o755)
    few = shell.home / "requirements.txt"
    few.write_text("".join(f"{name}=={pin}\n" for name, pin in pins() if name in LIBRARIES))
    monkeypatch.setattr(environment, "REQUIREMENTS", few)
    shell.before = (
        "from pathlib import Path; from deep_perception.describers.dam import environment as e\n"
        f"e.REQUIREMENTS = Path({str(few)!r}); import sys; sys.executable = {str(python)!r}\n"
    )
    shell.python = python
    return shell


def refused(done, *words):
    assert done.returncode == 2, done.err
    line = done.err.splitlines()[-1]
    assert line.startswith("deep_perception: ")
    assert "Traceback" not in done.err
    for word in words:
        assert re.search(word, line), line
    return True


@pytest.mark.slow
def test_setup_creates_the_environment_and_the_second_call_only_checks(first):
    shell, done = first
    assert done.returncode == 0, done.err
    *_, ready, device = done.out.splitlines()
    versions = dict(pins())
    assert ready == (
        f"{shell.default} is ready: torch {versions['torch']}, transformers "
        f"{versions['transformers']}, aiohttp {versions['aiohttp']}"
    )
    assert device == "DAM will run on: NVIDIA H100"
    assert environment.problem_of(shell.default) == ""

    # An installation would fail with these.
    write_wheels(shell.wheels, broken=["torch"])
    done = shell.setup()
    assert (done.returncode, done.out.splitlines()) == (0, [ready, device])


@pytest.mark.slow
def test_setup_without_cuda_reports_it(quick_shell):
    shell = quick_shell
    write_wheels(shell.wheels)
    done = shell.setup("--environment", "here", "--python", shell.python)
    assert done.returncode == 0, done.err
    assert done.out.splitlines()[-1].startswith("there is no CUDA device: DAM needs one")
    assert environment.problem_of(shell.home / "here") == ""


def open_for_writing(pipe):
    """A descriptor of a pipe that somebody reads, else None."""
    with contextlib.suppress(OSError):
        return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    return None


@pytest.mark.slow
def test_an_interrupted_setup_is_unfinished_and_the_next_one_completes_it(quick_shell):
    shell = quick_shell
    write_wheels(shell.wheels)
    # pip opens this wheel to read its metadata, and blocks: it is a pipe, which is a point in the
    # middle of the installation.
    name, version = next(pin for pin in pins() if pin[0] in LIBRARIES)
    wheel = shell.wheels / f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    whole = wheel.read_bytes()
    wheel.unlink()
    os.mkfifo(wheel)
    process = shell.start("models", "setup-dam")
    pipe = until(lambda: open_for_writing(wheel))
    os.killpg(process.pid, signal.SIGINT)  # Ctrl-C at a terminal reaches the whole group.
    _, err = process.communicate(timeout=PATIENCE_S)
    os.close(pipe)
    assert process.returncode == 2
    assert err.splitlines()[-1].startswith("deep_perception: interrupted; run the same command")
    assert environment.problem_of(shell.default).endswith("is not finished")
    wheel.unlink()
    wheel.write_bytes(whole)
    assert shell.setup().returncode == 0
    assert environment.problem_of(shell.default) == ""


@pytest.mark.slow
def test_other_pins_make_the_environment_an_old_one(quick_shell):
    shell = quick_shell
    write_wheels(shell.wheels)
    assert shell.setup().returncode == 0
    record = shell.default / environment.RECORD
    record.write_text(json.dumps({"requirements": "of an older version"}))
    assert "of another version" in environment.problem_of(shell.default)
    assert shell.setup().returncode == 0
    assert environment.problem_of(shell.default) == ""


@pytest.mark.slow
def test_libraries_that_do_not_work_are_not_called_ready(quick_shell):
    shell = quick_shell
    write_wheels(shell.wheels, broken=["torch"])
    assert refused(shell.setup(), "libraries do not work .*libcudart", "delete the folder")
    assert "not finished" in environment.problem_of(shell.default)


@pytest.mark.slow
def test_no_network(quick_shell):
    shell = quick_shell
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
def test_a_python_that_is_no_interpreter(shell, python):
    assert refused(shell.setup("--python", python), f"{python} is not a Python interpreter")


def test_a_disk_that_is_too_small(shell):
    before = "from deep_perception.describers.dam import environment as e; e.NEEDED_BYTES = 10**18"
    done = shell.setup(before=before)
    assert refused(done, "the disk has .* free and torch with CUDA needs about", "--environment")


def test_folders_of_others_are_not_changed(shell):
    (shell.home / "photos").mkdir()
    (shell.home / "photos" / "cat.jpg").write_bytes(b"cat")
    (shell.home / "file").write_text("mine")
    assert refused(shell.setup("--environment", "photos"), "was not made by this command")
    assert refused(shell.setup("--environment", "file"), "is a file")
    assert refused(shell.setup("--environment", "file/below"), "file/below: Not a directory")
    assert [entry.name for entry in (shell.home / "photos").iterdir()] == ["cat.jpg"]


def test_an_installed_package_has_the_requirements(tmp_path):
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
        assert until(place.listening) == process.pid  # It is the same process.
        (start,) = dam_stand_in.starts(place.environment)
        given = start["options"]
        assert (given["device"], given["max_batch"], given["temperature"]) == ("cpu", "2", "0.5")
        assert not given["with_parent"]
        assert not start["variables"].keys() & {"LD_LIBRARY_PATH", "PYTHONPATH"}
    finally:
        process.terminate()
        _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err


def test_dam_server_reports_what_is_missing(shell, place):
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


def test_code_that_differs_from_the_download_is_not_run(shell, place):
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
