"""The steps that make an environment. Each is redone when what it was made from has changed."""

from __future__ import annotations

import os
import platform
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from . import installers
from . import plan as plans
from .network import check_index, pip_options
from .plan import ROOT, STATE, TOOLS, Interpreter, Plan
from .sourced import SourcedRos
from .terminal import Problem, run


class Setup:
    """All steps for one plan: `stale()` says which are needed, the rest does them."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.lock = -1
        self.ros = SourcedRos(plan.distro) if plan.kind == "sourced" else None
        self.base = self.ros.interpreter if self.ros else Interpreter.running()
        self.pins = (
            self.ros.missing(plan) if self.ros else plans.pins(plan.requirements, self.base.version)
        )
        self.python = plan.venv / "bin" / "python"
        self.log = STATE / "logs" / f"{plan.venv.name.lstrip('.')}.log"
        self.venv_key = f"{ROOT} {self.base.name} {self.ros.key if self.ros else ''}".strip()
        self.pins_key = plans.digest([], self.venv_key, *sorted(self.pins.values()))
        self.build: Path | None = None
        self.sources: list[Path] = []
        if plan.kind != "plain":
            self.sources = plans.interface_sources(not (self.ros and self.ros.has_vision_msgs))
            files = [*plans.files_under(self.sources), TOOLS / "ros" / "slim_unity.cmake"]
            lines = [line for name, line in sorted(self.pins.items()) if _builds(name)]
            key = plans.digest(files, self.venv_key, *lines)
            self.build = STATE / f"{'sourced-' if self.ros else ''}{plan.distro}-{key}"

    # -- what is needed ---------------------------------------------------------------------

    def stale(self) -> list[str]:
        """Return the names of the steps to do, in order."""
        needed = []
        if self._stamp("venv") != self.venv_key or self._stamp("begun"):
            needed = ["venv", "wheels"]
        elif self._stamp("wheels") != self.pins_key:
            needed = ["wheels"]
        if self.plan.kind == "wheels" and (needed or self._stamp("paths") != self.pins_key):
            needed.append("paths")
        if self.build and not (self.build / "complete").exists():
            needed.append("interfaces")
        if needed:
            needed.insert(0, "check")
        elif not _same(self.plan.env_file, self.env_text()):
            needed = ["ready"]
        return needed

    def _stamp(self, name: str) -> str:
        path = self.plan.venv / ".stamps" / name
        return path.read_text(encoding="utf-8") if path.exists() and self.python.exists() else ""

    def _write_stamp(self, name: str, text: str) -> None:
        path = self.plan.venv / ".stamps" / name
        path.parent.mkdir(exist_ok=True)
        plans.write_whole(path, text)

    # -- the steps --------------------------------------------------------------------------

    def check(self) -> None:
        """Refuse early, with the mend, what would fail late and unclearly."""
        here = (platform.system(), platform.machine())
        if self.plan.kind == "wheels" and here != ("Linux", "x86_64"):
            raise Problem(
                f"there are no ROS 2 wheels for {' '.join(here)}, only for Linux x86_64.\n"
                "Install ROS 2 and source it, then start again."
            )
        needed, python = self.stale(), self.base.name
        if "venv" in needed and not self.base.has_venv:
            raise Problem(
                f"{self.base.path} cannot make a venv.\nDo: sudo apt install {python}-venv"
            )
        if "interfaces" in needed:
            wanted = [os.environ.get("CC") or "gcc", os.environ.get("CXX") or "g++"]
            missing = [command for command in wanted if not shutil.which(command.split()[0])]
            if not (self.base.include / "Python.h").exists():
                missing.append(str(self.base.include / "Python.h"))
            if missing:
                raise Problem(
                    f"a C and C++ compiler and the Python headers are needed, but there is no "
                    f"{', no '.join(missing)}.\nDo: sudo apt install build-essential {python}-dev"
                )

    def venv(self) -> None:
        shutil.rmtree(self.plan.venv, ignore_errors=True)
        command: list[str | Path] = [self.base.path, "-m", "venv", self.plan.venv]
        if self.ros:
            command.insert(-1, "--system-site-packages")
        self._run("making the virtual environment", command)
        if self.ros:
            self.ros.link_parent(self.plan.venv)
        self._write_stamp("venv", self.venv_key)

    def wheels(self) -> None:
        if self.pins:
            options = pip_options(self.python, self._env())
            check_index(options)
            # An installer that was killed in the middle of a package leaves one that looks whole.
            self._write_stamp("begun", "a start that finds this makes the environment anew")
            uv = installers.find_uv(self.python, options, self._status)
            # empy has no wheel. With setuptools there first, its build downloads nothing.
            first = [self.pins[name] for name in ("setuptools",) if name in self.pins]
            self._install(first, uv, options, build_empy=False)
            rest = sorted(set(self.pins.values()) - set(first))
            self._install(rest, uv, options, build_empy=bool(first))
        self._write_stamp("wheels", self.pins_key)
        (self.plan.venv / ".stamps" / "begun").unlink(missing_ok=True)

    def _install(
        self, requirements: list[str], uv: Path | None, options: Mapping[str, str], build_empy: bool
    ) -> None:
        if not requirements:
            return
        listed = self.log.with_suffix(".txt")
        listed.parent.mkdir(parents=True, exist_ok=True)
        plans.write_whole(listed, "\n".join(requirements) + "\n")
        pip = installers.with_pip(self.python, listed, build_empy=build_empy)
        if uv:
            command = installers.with_uv(uv, self.python, listed, options, build_empy=build_empy)
            if self._status(command, installers.variables_of_uv(options)) == 0:
                return
            pip.append("--force-reinstall")  # uv may have left half of a package
        self._run("pip", pip)

    def paths(self) -> None:
        """Two folders of the machine that built the wheels are baked into their CMake files."""
        there = r"/opt/python/cp3\d+-cp3\d+t?/"
        numpy = there + r"lib/python3\.\d+t?/site-packages/numpy/_core/include"
        include = there + r"include/python3\.\d+t?"
        ours = self.plan.venv / "lib" / self.base.name / "site-packages/numpy/_core/include"
        for path in self.plan.venv.glob("share/*/cmake/*.cmake"):
            text = path.read_text(encoding="utf-8")
            fixed = re.sub(include, str(self.base.include), re.sub(numpy, str(ours), text))
            if fixed != text:
                plans.write_whole(path, fixed)
        self._write_stamp("paths", self.pins_key)

    def interfaces(self) -> None:
        assert self.build
        shutil.rmtree(self.build, ignore_errors=True)
        (self.build / "install").mkdir(parents=True)
        self.ready()
        build: list[str | Path] = [
            "colcon", "--log-base", self.build / "log", "build", "--merge-install",
            "--base-paths", *self.sources,
            "--build-base", self.build / "build", "--install-base", self.build / "install",
            "--event-handlers", "console_direct+",
            "--cmake-args", "-G", "Ninja", "-DBUILD_TESTING=OFF",
            f"-DPython3_EXECUTABLE={self.python}",
            f"-DCMAKE_PROJECT_INCLUDE={TOOLS / 'ros' / 'slim_unity.cmake'}",
        ]  # fmt: skip
        self._run("building the interface packages",
                  ["bash", "-c", '. "$0" && exec "$@"', self.plan.env_file, *build])  # fmt: skip
        for folder in ("build", "log"):
            shutil.rmtree(self.build / folder, ignore_errors=True)
        (self.build / "complete").touch()

    def ready(self) -> None:
        plans.write_whole(self.plan.env_file, self.env_text())

    def env_text(self) -> str:
        template = (TOOLS / "ros" / "ros_env.sh.in").read_text(encoding="utf-8")
        values = {
            "KIND": self.plan.kind,
            "DISTRO": self.plan.distro,
            "ROOT": str(ROOT),
            "VENV": str(self.plan.venv),
            "BUILT": str(self.build / "install") if self.build else "",
            "PYTHON": self.base.name,
        }
        return re.sub(r"@(\w+)@", lambda match: values[match[1]], template)

    # -- helpers ----------------------------------------------------------------------------

    def _env(self) -> Mapping[str, str]:
        """Return the caller's environment without what would send pip or venv elsewhere."""
        strange = {"PYTHONHOME", "PIP_TARGET", "PIP_PREFIX"}
        if not self.ros:
            strange |= {"PYTHONPATH", "LD_LIBRARY_PATH", "_ROS_WHEELS_BOOTSTRAP_COMPLETE"}
        kept = {name: value for name, value in os.environ.items() if name not in strange}
        return {**kept, "PIP_USER": "0"}

    def _status(
        self, command: Sequence[str | Path], variables: Mapping[str, str] | None = None
    ) -> int:
        return run(command, self.log, {**self._env(), **(variables or {})}, self.lock)

    def _run(self, what: str, command: Sequence[str | Path]) -> None:
        if self._status(command) != 0:
            tail = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
            errors = [line for line in tail if re.search(r"\berror\b", line, re.IGNORECASE)]
            reason = (errors or tail or [""])[-1].strip()
            raise Problem(f"{what} failed: {reason[:300]}\nAll its output: {self.log}")


def _same(path: Path, text: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8") == text


def _builds(name: str) -> bool:
    """Tell whether a new version of this package can change the built interfaces."""
    return name.startswith("ros-") or name in {"numpy", "empy", "cmake"}
