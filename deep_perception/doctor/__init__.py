"""What ``deep_perception doctor`` finds out, without ROS; ``ros/doctor.py`` looks at the graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "note", "wrong"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the result: ``what`` is the case, and ``remedy``, what to do, "" if nothing.

    ``note``: worth knowing, or a part that may be meant to be absent. ``wrong``: does not work.
    """

    section: str
    level: Level
    what: str
    remedy: str = ""
