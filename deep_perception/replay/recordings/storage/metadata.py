"""The names of files in a ``metadata.yaml``, read event by event.

Nothing is built from the file but these names: no aliases or merged keys are expanded, no numbers
or dates are made, and nothing is nested deeper than rosbag2 does.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from deep_perception.untrusted.bounded import read_file
from deep_perception.untrusted.text import printable

# Bytes: the file of a recording of ten thousand files has some two million.
LARGEST = 1 << 22
_DEEPEST = 64
_FILES = ("rosbag2_bagfile_information", "relative_file_paths")
# libyaml is several times faster, but it can be missing.
_Loader: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


def file_names(metadata: Path) -> list[str]:
    """Return the names of the files, each once and without a folder.

    Raises OSError, ValueError and yaml.YAMLError.
    """
    text = read_file(metadata, LARGEST).decode()
    try:
        paths = list(_paths(text))
    except yaml.MarkedYAMLError as error:
        mark = error.context_mark or error.problem_mark
        number = mark.line if mark else 0
        line = next(islice(text.splitlines(), number, None), "")
        raise ValueError(f"{error.problem}, line {number + 1}: {printable(line)}") from None
    # Bags before Foxy include the name of the folder, which may have been renamed since.
    names = (PurePosixPath(path.replace("\\", "/")).name for path in paths)
    return list(dict.fromkeys(name for name in names if name))


def _paths(text: str) -> Iterator[str]:
    # The last key in each open mapping, None where a key comes next and in a list.
    keys: list[str | None] = []
    in_list: list[bool] = []
    found = False
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            keys.append(None)
            in_list.append(isinstance(event, yaml.SequenceStartEvent))
            if len(keys) > _DEEPEST:
                raise ValueError(f"more than {_DEEPEST} lists and mappings within each other")
            found = found or (in_list == [False, False, True] and tuple(keys[:2]) == _FILES)
            continue
        if isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            keys.pop()
            if in_list.pop() and found and tuple(keys) == _FILES:
                return
        elif not isinstance(event, (yaml.ScalarEvent, yaml.AliasEvent)):
            continue
        value = event.value if isinstance(event, yaml.ScalarEvent) else ""
        if in_list == [False, False, True] and tuple(keys[:2]) == _FILES:
            yield value
        elif keys and not in_list[-1]:
            keys[-1] = value if keys[-1] is None else None
    if not found:
        raise ValueError(f"there is no list {_FILES[1]}")
