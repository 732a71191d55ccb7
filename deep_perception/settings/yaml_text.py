"""The settings as text that people edit and read: YAML in and out, and a Markdown table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from deep_perception.settings import Scalar
from deep_perception.settings.options import Option, SettingsError, options

NODE_NAME = "/**"


def to_ros_yaml() -> str:
    """``config/analyzer.yaml``: a ROS parameter file with every setting, its help and range."""
    lines = [
        "# Every parameter of the analyzer node with its default. Made by",
        "# `deep_perception settings > config/analyzer.yaml`; a test compares it with the code.",
        f"{NODE_NAME}:",
        "  ros__parameters:",
    ]
    here: list[str] = []
    for option in options():
        *groups, leaf = option.name.split(".")
        indent = "    "
        for depth, group in enumerate(groups):
            if here[: depth + 1] != groups[: depth + 1]:
                lines.append(f"{indent}{group}:")
            indent += "  "
        here = groups
        lines.append(f"{indent}# {_help(option)}")
        lines.append(f"{indent}{leaf}: {_yaml(option.default)}")
    return "\n".join(lines) + "\n"


def to_markdown() -> str:
    """The README's table of parameters."""
    rows = [
        f"| `{option.name}` | {_code(option.default)} | {_markdown_help(option)} |"
        for option in options()
    ]
    return "\n".join(["| parameter | default | meaning |", "| --- | --- | --- |", *rows]) + "\n"


def _help(option: Option) -> str:
    fixed = "; set at start only" if option.read_only else ""
    return f"{option.help} [{option.expected}{fixed}]"


def _markdown_help(option: Option) -> str:
    fixed = ", at start only" if option.read_only else ""
    return f"{option.help} ({option.expected}{fixed})"


def _yaml(value: Scalar) -> str:
    return json.dumps(value)


def _code(value: Scalar) -> str:
    return f"`{_yaml(value)}`"


def load_yaml(text: str) -> dict[str, Any]:
    """Dotted names of a settings YAML: nested, dotted, or a ROS parameter file of one node."""
    try:
        document = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise SettingsError(f"not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(document, Mapping):
        raise SettingsError(f"expected a mapping of settings, got {type(document).__name__}")
    nodes = dict(_ros_nodes(document))
    if nodes:
        # Of a file for several nodes: the analyzer's own block, else the one for all.
        ours = [name for name in nodes if name.split("/")[-1] == "analyzer"] or ["/**"]
        document = nodes.get(ours[0]) or (next(iter(nodes.values())) if len(nodes) == 1 else {})
    return dict(_flat_items(document))


def _ros_nodes(tree: Mapping[str, Any], name: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    for key, body in tree.items():
        if key == "ros__parameters":
            yield name, body or {}
        elif isinstance(body, Mapping):
            yield from _ros_nodes(body, f"{name}/{key}" if name else str(key))


def _flat_items(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat_items(value, f"{prefix}{key}.")
        elif f"{prefix}{key}" != "use_sim_time":
            yield f"{prefix}{key}", value
