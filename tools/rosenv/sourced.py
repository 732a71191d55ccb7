"""What differs when the caller has sourced a ROS 2."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from .plan import OWN_ENV, ROOT, STATE, TOOLS, Interpreter, Plan, digest, pins, write_whole
from .terminal import Problem

# Taken from the sourced system when it has them: the package works with old versions of these, and
# a second numpy beside the system's would break compiled packages such as cv_bridge.
PLATFORM = {
    "numpy": "numpy",
    "opencv-python-headless": "cv2",
    "pillow": "PIL",
    "pydantic": "pydantic",
    "pytest": "pytest",
    "pyyaml": "yaml",
    "scipy": "scipy",
    "setuptools": "setuptools",
    "tqdm": "tqdm",
}
PROBE = """
import json, os, shutil, site, sys, sysconfig
from importlib.util import find_spec
import rclpy
print(json.dumps({
    "path": sys.executable,
    "rclpy": rclpy.__file__,
    "version": sys.version_info[:2],
    "include": sysconfig.get_path("include"),
    "has_venv": bool(find_spec("ensurepip")),
    "modules": [name for name in sys.argv[1:] if find_spec(name)],
    "sites": site.getsitepackages() if sys.prefix != sys.base_prefix else [],
    "tools": [name for name in ("colcon", "cmake", "ninja") if shutil.which(name)],
    "vision_msgs": any(
        os.path.exists(prefix + "/share/ament_index/resource_index/packages/vision_msgs")
        for prefix in os.environ["AMENT_PREFIX_PATH"].split(":")
    ),
}))
"""


class SourcedRos:
    """The caller's ROS 2, looked at once and remembered until the caller's paths change."""

    def __init__(self, distro: str) -> None:
        memory = STATE / f"sourced-{distro}.json"
        watched = ("PYTHON", "AMENT_PREFIX_PATH", "PYTHONPATH", "PATH")
        seen = [os.environ.get(name, "") for name in watched]
        known = json.loads(memory.read_text(encoding="utf-8")) if memory.exists() else {}
        inside = os.environ.get(OWN_ENV, "") == f"{ROOT}:sourced"
        if not known or (known["seen"] != seen and not inside):
            known = {"seen": seen, "facts": _probe(distro)}
            memory.parent.mkdir(exist_ok=True)
            write_whole(memory, json.dumps(known))
        self.facts: dict[str, Any] = known["facts"]
        self.key = digest([], json.dumps(self.facts))
        self.interpreter = Interpreter(
            Path(self.facts["path"]),
            tuple(self.facts["version"]),
            Path(self.facts["include"]),
            self.facts["has_venv"],
        )
        self.has_vision_msgs: bool = self.facts["vision_msgs"]

    def missing(self, plan: Plan) -> dict[str, str]:
        """Return the pins to install beside what the sourced ROS brings."""
        version = self.interpreter.version
        wanted = pins(plan.requirements, version)
        wheels = pins([TOOLS / "ros" / "jazzy.txt"], version)
        if "colcon" not in self.facts["tools"]:
            wanted |= {n: p for n, p in wheels.items() if not n.startswith("ros-") and n != "empy"}
        for tool in {"cmake", "ninja"} - set(self.facts["tools"]):
            wanted[tool] = wheels[tool]
        for tool in {"cmake", "ninja"} & set(self.facts["tools"]):
            wanted.pop(tool, None)
        has = self.facts["modules"]
        return {n: p for n, p in wanted.items() if PLATFORM.get(n) not in has}

    def link_parent(self, venv: Path) -> None:
        """Let the venv see the packages of the venv that ROS lives in, if it does."""
        lines = [f"import site; site.addsitedir({folder!r})\n" for folder in self.facts["sites"]]
        for folder in venv.glob("lib/python3.*/site-packages"):
            (folder / "sourced_ros.pth").write_text("".join(lines), encoding="utf-8")


def _probe(distro: str) -> dict[str, Any]:
    """Ask the first Python that can import rclpy."""
    chosen = os.environ.get("PYTHON")
    for python in [chosen] if chosen else ["python3", "/usr/bin/python3"]:
        try:
            done = subprocess.run(
                [python, "-c", PROBE, *PLATFORM.values()], capture_output=True, text=True
            )
        except OSError:
            continue
        if done.returncode == 0:
            facts: dict[str, Any] = json.loads(done.stdout)
            return facts
    raise Problem(
        f"ROS 2 {distro} is sourced, but {chosen or 'python3'} cannot import rclpy.\n"
        "Name the Python of that ROS (PYTHON=/usr/bin/python3 make demo), "
        "or start a shell without it (env -u ROS_DISTRO make demo)."
    )
