"""The settings as text that people edit and read: YAML and a Markdown table."""

from __future__ import annotations

import json

from deep_perception.settings import Option, Scalar, options

NODE_NAME = "/**"


def to_ros_yaml() -> str:
    """``config/analyzer.yaml``: a ROS parameter file with every setting, its help and range."""
    lines = [
        "# Every parameter of the analyzer node with its default. Made by",
        "# `deep_perception settings > config/analyzer.yaml`; a test compares it with the code.",
        f"{NODE_NAME}:",
        "  ros__parameters:",
    ]
    group = ""
    for option in options():
        head, leaf = option.name.split(".")
        if head != group:
            group = head
            lines.append(f"    {group}:")
        lines.append(f"      # {_help(option)}")
        lines.append(f"      {leaf}: {_yaml(option.default)}")
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
