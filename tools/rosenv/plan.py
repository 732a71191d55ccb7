"""What is to be set up, where, and from which files."""

from __future__ import annotations

import hashlib
import os
import re
import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from .terminal import Problem

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "tools"
STATE = ROOT / ".ros"
DISTROS = ("jazzy", "kilted")
OWN_ENV = "DEEP_PERCEPTION_ENV"


@dataclass(frozen=True)
class Interpreter:
    """The Python that an environment is made from."""

    path: Path
    version: tuple[int, ...]
    include: Path
    has_venv: bool

    @classmethod
    def running(cls) -> Interpreter:
        path = Path(sys.executable)
        if ROOT in path.parents:
            # The environment may be made anew: never from itself.
            path = path.resolve()
        include = Path(sysconfig.get_path("include"))
        return cls(path, sys.version_info[:2], include, bool(find_spec("ensurepip")))

    @property
    def name(self) -> str:
        return f"python{self.version[0]}.{self.version[1]}"


@dataclass(frozen=True)
class Plan:
    """One environment: `wheels` and `sourced` have ROS, `plain` is only a list of requirements."""

    kind: str
    distro: str
    venv: Path
    requirements: tuple[Path, ...]

    @property
    def headline(self) -> str:
        hint = " (ROS_DISTRO is set, but nothing is sourced)" if _only_named() else ""
        return {
            "wheels": f"using ROS 2 {self.distro} from PyPI wheels{hint}",
            "sourced": f"using the sourced ROS 2 {self.distro}",
            "plain": f"using {self.requirements[0].relative_to(ROOT)}",
        }[self.kind]

    @property
    def env_file(self) -> Path:
        return self.venv / "ros_env.sh"


def _only_named() -> bool:
    return bool(os.environ.get("ROS_DISTRO")) and not os.environ.get("AMENT_PREFIX_PATH")


def choose(requirements: str | None) -> Plan:
    """Pick the environment that the caller's variables ask for."""
    if requirements:
        path = (ROOT / requirements).resolve()
        if not path.is_file() or ROOT not in path.parents:
            raise Problem(f"{requirements} is no file of this folder")
        return Plan("plain", "", ROOT / f".venv-{path.stem}", (path,))
    wanted = os.environ.get("DEEP_PERCEPTION_WITH", "")
    extras = sorted(set(filter(None, wanted.split(","))))
    lists = tuple(ROOT / "requirements" / f"{name}.txt" for name in ["dev", "hub", "chat", *extras])
    absent = [path.name for path in lists if not path.is_file()]
    if absent:
        raise Problem(f"DEEP_PERCEPTION_WITH={wanted}: there is no requirements/{absent[0]}")
    suffix = "".join(f"-{name}" for name in extras)
    sourced = os.environ.get("ROS_DISTRO", "")
    distro = os.environ.get("ROS_WHEELS", "")
    if os.environ.get(OWN_ENV, "") == f"{ROOT}:wheels":
        # In an environment of ours ROS_DISTRO is our own echo.
        distro = distro or sourced
    if sourced and os.environ.get("AMENT_PREFIX_PATH") and not distro:
        return Plan("sourced", sourced, ROOT / f".venv-sourced-{sourced}{suffix}", lists)
    distro = distro or DISTROS[0]
    if distro not in DISTROS:
        raise Problem(f"ROS_WHEELS={distro} is not known. Known: {', '.join(DISTROS)}")
    venv = ROOT / ((".venv" if distro == DISTROS[0] else f".venv-{distro}") + suffix)
    return Plan("wheels", distro, venv, (TOOLS / "ros" / f"{distro}.txt", *lists))


def pins(files: Iterable[Path], version: tuple[int, ...]) -> dict[str, str]:
    """Read `name -> requirement` for every line that this Python version needs."""
    found: dict[str, str] = {}
    for path in files:
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("-r "):
                found.update(pins([path.parent / line[3:].strip()], version))
                continue
            pin, _, marker = line.partition("#")[0].partition(";")
            if not pin.strip() or not _applies(marker, version):
                continue
            name = re.split(r"[=<>\[ ]", pin.strip())[0]
            if found.setdefault(name, pin.strip()) != pin.strip():
                raise Problem(f"{path}: {pin.strip()} clashes with {found[name]}")
    return found


def _applies(marker: str, version: tuple[int, ...]) -> bool:
    if not marker.strip():
        return True
    match = re.fullmatch(r'\s*python_version (<|>=) "3\.(\d+)"\s*', marker)
    if not match:
        raise Problem(f'only `python_version < or >= "3.x"` markers are read here, not `{marker}`')
    limit = (3, int(match[2]))
    return version < limit if match[1] == "<" else version >= limit


def interface_sources(with_vision: bool) -> list[Path]:
    """Return the folders of the interface packages to build."""
    vision = [TOOLS / "ros" / "vision_msgs"] if with_vision else []
    return [*vision, ROOT / "deep_perception_msgs"]


def digest(files: Iterable[Path], *more: str) -> str:
    """Hash file names and contents, in a fixed order."""
    state = hashlib.sha256()
    for path in sorted(files):
        state.update(f"{path.relative_to(ROOT)}\0".encode())
        state.update(path.read_bytes())
    for text in more:
        state.update(f"\0{text}".encode())
    return state.hexdigest()[:16]


def files_under(folders: Iterable[Path]) -> list[Path]:
    return [p for folder in folders for p in folder.rglob("*") if p.is_file()]


def write_whole(path: Path, text: str) -> None:
    """Write a file so that nobody, not even after a kill, sees half of it."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
