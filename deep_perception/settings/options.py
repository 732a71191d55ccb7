"""The settings as a flat list of options with dotted names, and settings made from such names."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pydantic

from deep_perception.settings import Scalar, Settings
from deep_perception.untrusted.text import printable


class SettingsError(ValueError):
    """A setting is unknown or has an invalid value; the message names the valid ones."""


@dataclass(frozen=True, kw_only=True)
class Option:
    """One leaf of the settings tree, such as ``points.grid_columns``.

    Whole numbers are multiples of ``step``.
    """

    name: str
    kind: type
    default: Scalar
    help: str
    unit: str
    at_least: float | None
    at_most: float | None
    choices: tuple[str, ...]
    live_at_least: float | None
    live_at_most: float | None
    step: int
    read_only: bool
    trusted: bool
    """Whether it comes from the start of the process only, and no service can change it."""
    changes_scenes: bool
    """Whether another value can change the scenes of a recording."""

    @property
    def expected(self) -> str:
        """A description of the valid values, for help texts and errors."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        name = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
        step = f" in steps of {self.step}" if self.step > 1 else ""
        limits = _limits(self.at_least, self.at_most)
        return name[self.kind] + limits + step + (f" ({self.unit})" if self.unit else "")

    @property
    def of_services(self) -> str:
        """What a service of a node may set, if that is less than at the start, else ""."""
        if self.trusted:
            return "trusted: set at the start of the process only"
        wide, live = (self.at_least, self.at_most), (self.live_at_least, self.live_at_most)
        return f"a service:{_limits(*live)}" if live != wide else ""


def options() -> tuple[Option, ...]:
    """All options in the order of the settings tree."""
    return _OPTIONS


def settings_from(changes: Mapping[str, Any], base: Settings | None = None) -> Settings:
    """Make settings from dotted names and values: ``settings_from({"points.grid_rows": 8})``.

    Other settings are those of ``base``, or else the defaults. Raises SettingsError with the name
    of the setting, its value and the valid values.
    """
    values = {**(flatten(base) if base else {}), **changes}
    tree: dict[str, Any] = {}
    for name, value in values.items():
        _check_kind(find(name), value)
        *groups, leaf = name.split(".")
        branch = tree
        for group in groups:
            branch = branch.setdefault(group, {})
        branch[leaf] = value
    try:
        return Settings(**tree)
    except pydantic.ValidationError as error:
        name = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise _invalid(find(name), values[name]) from None


def flatten(settings: Settings) -> dict[str, Scalar]:
    """The value of every option by its dotted name."""
    return {option.name: attrgetter(option.name)(settings) for option in options()}


def find(name: str) -> Option:
    """The option of a dotted name. Raises SettingsError with the most similar name."""
    if name not in _BY_NAME:
        near = difflib.get_close_matches(name, _BY_NAME, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise SettingsError(f"{printable(name)}: there is no such setting{hint}")
    return _BY_NAME[name]


def _check_kind(option: Option, value: Any) -> None:
    # pydantic converts "3", 3.7 or True to an int, with differences between its major versions.
    allowed: tuple[type, ...] = (int, float) if option.kind is float else (option.kind,)
    if not isinstance(value, allowed) or (isinstance(value, bool) and option.kind is not bool):
        raise _invalid(option, value)
    if isinstance(value, float) and value != value:
        raise _invalid(option, value)


def _limits(at_least: float | None, at_most: float | None) -> str:
    low = f" from {_plain(at_least)}" if at_least is not None else ""
    return low + (f" to {_plain(at_most)}" if at_most is not None else "")


def _plain(number: float) -> str:
    return str(int(number)) if number == int(number) else str(number)


def _invalid(option: Option, value: Any) -> SettingsError:
    return SettingsError(
        f"{option.name}: {printable(repr(value))} is not allowed; expected {option.expected}"
    )


def leaves(branch: pydantic.BaseModel, prefix: str = "") -> Iterator[Option]:
    """Yield the options of a tree of settings.

    Raises TypeError for text without choices that is not classified as trusted or not: see
    ``_text`` in the settings tree.
    """
    hints = get_type_hints(type(branch))
    for name, info in _fields(type(branch)).items():
        default = getattr(branch, name)
        if isinstance(default, pydantic.BaseModel):
            yield from leaves(default, f"{prefix}{name}.")
            continue
        choices = get_args(hints[name]) if get_origin(hints[name]) is Literal else ()
        extra = _extra(info)
        if extra["trusted"] is None and isinstance(default, str) and not choices:
            raise TypeError(f"{prefix}{name}: text must be declared as trusted or not")
        yield Option(
            name=f"{prefix}{name}",
            kind=type(default),
            default=default,
            help=info.description,
            choices=choices,
            **{**extra, "trusted": bool(extra["trusted"])},
        )


def _fields(model: Any) -> dict[str, Any]:
    if pydantic.VERSION.startswith("1."):
        return {name: field.field_info for name, field in model.__fields__.items()}
    return dict(model.model_fields)


def _extra(info: Any) -> dict[str, Any]:
    old = pydantic.VERSION.startswith("1.")
    return dict(info.extra["json_schema_extra"] if old else info.json_schema_extra)


_OPTIONS = tuple(leaves(Settings()))
_BY_NAME = {option.name: option for option in _OPTIONS}
