"""What ``deep_perception doctor`` finds out, without ROS; ``ros/doctor.py`` looks at the graph."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "note", "wrong"]

# The user and password in front of the host of a URL. They may contain a slash or an "@".
_USERINFO = re.compile(r"(?<=//)\S*@")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the result: ``what`` is the case, and ``remedy``, what to do, "" if nothing.

    ``note``: worth knowing, or a part that may be meant to be absent. ``wrong``: does not work.
    """

    section: str
    level: Level
    what: str
    remedy: str = ""


def without_userinfo(text: str) -> str:
    """The text without the users and passwords of the URLs in it."""
    return _USERINFO.sub("***@", text)
