"""Every setting: the only defaults, ranges, units and help texts of the package.

ROS parameters, command-line options, ``config/analyzer.yaml`` and the README's table are generated
from here. Written for pydantic 1.10 (what Ubuntu 24.04 ships) and 2 alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pydantic

Scalar = bool | int | float | str


class SettingsError(ValueError):
    """A setting is unknown or has a value that is not allowed; the message says what is."""


def _setting(
    default: Scalar,
    help_text: str,
    *,
    unit: str = "",
    at_least: float | None = None,
    at_most: float | None = None,
    step: int = 1,
    read_only: bool = False,
) -> Any:
    extra: dict[str, Any] = {
        "unit": unit,
        "at_least": at_least,
        "at_most": at_most,
        "step": step,
        "read_only": read_only,
    }
    return pydantic.Field(
        default,
        description=help_text,
        ge=at_least,
        le=at_most,
        multiple_of=step if step > 1 else None,
        json_schema_extra=extra,
    )


class PointSettings(pydantic.BaseModel, extra="forbid"):
    sources: Literal["contours+grid", "contours", "grid"] = _setting(
        "contours+grid", "which points are proposed, in this order"
    )
    grid_columns: int = _setting(14, "columns of grid points", at_least=1, at_most=200)
    grid_rows: int = _setting(12, "rows of grid points", at_least=1, at_most=200)
    max_contour_points: int = _setting(
        500, "at most this many contour centroids, largest contour first", at_least=0, at_most=20000
    )
    order: Literal["area", "saliency", "novelty"] = _setting(
        "area",
        "which points are asked first: contours by area, then the grid; what stands out; or what "
        "changed since the last analysed picture",
    )
    inside: bool = _setting(
        False, "move a centroid that lies outside its contour to the contour's innermost pixel"
    )


class SweepSettings(pydantic.BaseModel, extra="forbid"):
    max_width: int = _setting(
        640, "the working image is shrunk to fit this width", unit="px", at_least=16, at_most=8192
    )
    max_height: int = _setting(
        480, "the working image is shrunk to fit this height", unit="px", at_least=16, at_most=8192
    )
    min_mask_area: int = _setting(
        50, "smaller masks are dropped", unit="px of the working image", at_least=0, at_most=10**6
    )
    overlap: Literal["allow", "trim", "skip"] = _setting(
        "allow",
        "pixels that are claimed already: allow them in a new mask, trim them off it, or skip "
        "a mask that is mostly claimed",
    )
    min_score: float = _setting(
        0.0, "masks that the segmenter scores lower are dropped", at_least=0.0, at_most=1.0
    )
    max_regions: int = _setting(0, "stop after this many regions, 0: no limit", at_least=0)
    deadline_s: float = _setting(
        0.0, "stop asking points this long after the analysis began, and report those left out; "
        "0: never",
        unit="s", at_least=0.0,
    )  # fmt: skip


class SegmenterSettings(pydantic.BaseModel, extra="forbid"):
    backend: str = _setting(
        "superpixels",
        "what turns a point into a mask: superpixels (embedded, no download), sam2, sam2_official "
        "(Meta's package) or your own 'package.module:Class'",
        read_only=True,
    )
    fallback: str = _setting(
        "superpixels", "used, and said in every message, when the backend cannot work; empty: none",
        read_only=True,
    )  # fmt: skip
    checkpoint: str = _setting(
        "checkpoints/sam2.1-hiera-tiny",
        "SAM2's weights: a folder (deep_perception models fetch), Meta's .pt file, or a hub id",
        read_only=True,
    )
    config: str = _setting(
        "",
        "the YAML file or its name (sam2.1_hiera_l.yaml) that goes with a .pt file; empty: by the "
        "weights",
        read_only=True,
    )
    device: str = _setting(
        "auto", "auto (cuda, else mps, else cpu), cpu, cuda, cuda:1, mps", read_only=True
    )
    image_size: int = _setting(
        1024, "side of the square picture that SAM2 sees; smaller is faster and coarser",
        unit="px", at_least=256, at_most=1024, step=32, read_only=True,
    )  # fmt: skip
    scale: Literal["best", "small", "medium", "large"] = _setting(
        "best",
        "which of SAM2's three masks of a point: of the best predicted quality, or by size",
        read_only=True,
    )
    chunk_size: int = _setting(
        0, "points that SAM2 decodes at once, 0: by device", at_least=0, at_most=1024,
        read_only=True,
    )  # fmt: skip
    fill_holes_area: int = _setting(
        0, "holes in a SAM2 mask up to this area are filled, 0: none",
        unit="px of the working image", at_least=0, at_most=10**6, read_only=True,
    )  # fmt: skip
    drop_specks_area: int = _setting(
        0, "pieces of a SAM2 mask up to this area are dropped, 0: none",
        unit="px of the working image", at_least=0, at_most=10**6, read_only=True,
    )  # fmt: skip
    largest_component: bool = _setting(
        False, "keep the largest piece of a SAM2 mask only", read_only=True
    )


class DescriberSettings(pydantic.BaseModel, extra="forbid"):
    backend: str = _setting(
        "attributes",
        "what puts a region into words: attributes (embedded, no download) or your own "
        "'package.module:Class'",
        read_only=True,
    )
    fallback: str = _setting(
        "attributes", "used, and said in every message, when the backend cannot work; empty: none",
        read_only=True,
    )  # fmt: skip


class KeyframeSettings(pydantic.BaseModel, extra="forbid"):
    min_interval_s: float = _setting(
        1.0, "least time between two analysed frames, by their stamps; 0: as fast as it goes",
        unit="s", at_least=0.0, at_most=3600.0,
    )  # fmt: skip


class OutputSettings(pydantic.BaseModel, extra="forbid"):
    folder: str = _setting(
        "output", "where the command line writes its reports and pictures; the node writes no files"
    )
    max_picture_side: int = _setting(
        1920,
        "longest side of the picture files that the command line draws; ~/annotated has the "
        "camera's own size",
        unit="px", at_least=64, at_most=16384,
    )  # fmt: skip
    labels: Literal["index", "words"] = _setting(
        "index", "what a drawn label says: D1, D2, ... alone or with the region's words"
    )
    jpeg_quality: int = _setting(
        90, "quality of the compressed annotated image", at_least=1, at_most=100
    )


class RosSettings(pydantic.BaseModel, extra="forbid"):
    transport: Literal["auto", "raw", "compressed"] = _setting(
        "auto",
        "subscribe to sensor_msgs/Image (raw), CompressedImage (compressed), or what is published, "
        "raw first (auto)",
        read_only=True,
    )
    reliability: Literal["best_effort", "reliable"] = _setting(
        "best_effort", "reliability of the image subscription", read_only=True
    )
    enabled: bool = _setting(True, "analyse incoming images; also ~/set_enabled")
    input_timeout_s: float = _setting(
        5.0, "say what is wrong with the input when no image came for this long, 0: never",
        unit="s", at_least=0.0, at_most=3600.0,
    )  # fmt: skip
    diagnostics_period_s: float = _setting(
        1.0, "period of /diagnostics", unit="s", at_least=0.1, at_most=60.0, read_only=True
    )


class Settings(pydantic.BaseModel, extra="forbid"):
    """The whole tree. ``Settings()`` is the default behaviour."""

    points: PointSettings = pydantic.Field(default_factory=PointSettings)
    sweep: SweepSettings = pydantic.Field(default_factory=SweepSettings)
    segmenter: SegmenterSettings = pydantic.Field(default_factory=SegmenterSettings)
    describer: DescriberSettings = pydantic.Field(default_factory=DescriberSettings)
    keyframes: KeyframeSettings = pydantic.Field(default_factory=KeyframeSettings)
    output: OutputSettings = pydantic.Field(default_factory=OutputSettings)
    ros: RosSettings = pydantic.Field(default_factory=RosSettings)


@dataclass(frozen=True, kw_only=True)
class Option:
    """One leaf of the tree, e.g. ``points.grid_columns``."""

    name: str
    kind: type
    default: Scalar
    help: str
    unit: str
    at_least: float | None
    at_most: float | None
    choices: tuple[str, ...]
    step: int
    """Whole numbers are multiples of it."""
    read_only: bool

    @property
    def expected(self) -> str:
        """What is allowed, in words."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        name = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
        low = f" from {_plain(self.at_least)}" if self.at_least is not None else ""
        high = f" to {_plain(self.at_most)}" if self.at_most is not None else ""
        step = f" in steps of {self.step}" if self.step > 1 else ""
        return name[self.kind] + low + high + step + (f" ({self.unit})" if self.unit else "")


def options() -> tuple[Option, ...]:
    """All leaves of the tree, in order."""
    return _OPTIONS


def settings_from(changes: Mapping[str, Any], base: Settings | None = None) -> Settings:
    """Settings with dotted names changed: ``settings_from({"points.grid_rows": 8})``.

    Raises SettingsError that names the setting, its value and what is allowed.
    """
    tree: dict[str, dict[str, Any]] = {}
    for name, value in {**(flatten(base) if base else {}), **changes}.items():
        option = find(name)
        _check_kind(option, value)
        group, leaf = name.split(".")
        tree.setdefault(group, {})[leaf] = value
    try:
        return Settings(**tree)  # type: ignore[arg-type]
    except pydantic.ValidationError as error:
        name = ".".join(str(part) for part in error.errors()[0]["loc"][:2])
        group, leaf = name.split(".")
        raise SettingsError(_refusal(find(name), tree[group][leaf])) from None


def flatten(settings: Settings) -> dict[str, Scalar]:
    """Dotted name -> value of every leaf."""
    return {
        option.name: getattr(getattr(settings, group), leaf)
        for option in options()
        for group, leaf in [option.name.split(".")]
    }


def load_yaml(text: str) -> dict[str, Any]:
    """Dotted names of a settings YAML: nested, dotted, or a ROS parameter file of one node."""
    import yaml

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


def find(name: str) -> Option:
    """The option of a dotted name. Raises SettingsError with the nearest name there is."""
    if name not in _BY_NAME:
        import difflib

        near = difflib.get_close_matches(name, _BY_NAME, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise SettingsError(f"{name}: there is no such setting{hint}")
    return _BY_NAME[name]


def _check_kind(option: Option, value: Any) -> None:
    # pydantic would turn "3", 3.7 or True into an int, differently in its two major versions.
    allowed: tuple[type, ...] = (int, float) if option.kind is float else (option.kind,)
    if not isinstance(value, allowed) or (isinstance(value, bool) and option.kind is not bool):
        raise SettingsError(_refusal(option, value))
    if isinstance(value, float) and value != value:
        raise SettingsError(_refusal(option, value))


def _plain(number: float) -> str:
    return str(int(number)) if number == int(number) else str(number)


def _refusal(option: Option, value: Any) -> str:
    return f"{option.name}: {value!r} is not allowed; expected {option.expected}"


def _leaves() -> Iterator[Option]:
    defaults = Settings()
    groups = get_type_hints(Settings)
    for group in _fields(Settings):
        hints = get_type_hints(groups[group])
        for leaf, info in _fields(groups[group]).items():
            default = getattr(getattr(defaults, group), leaf)
            yield Option(
                name=f"{group}.{leaf}",
                kind=type(default),
                default=default,
                help=info.description,
                choices=get_args(hints[leaf]) if get_origin(hints[leaf]) is Literal else (),
                **_extra(info),
            )


def _fields(model: Any) -> dict[str, Any]:
    if pydantic.VERSION.startswith("1."):
        return {name: field.field_info for name, field in model.__fields__.items()}
    return dict(model.model_fields)


def _extra(info: Any) -> dict[str, Any]:
    old = pydantic.VERSION.startswith("1.")
    return dict(info.extra["json_schema_extra"] if old else info.json_schema_extra)


_OPTIONS = tuple(_leaves())
_BY_NAME = {option.name: option for option in _OPTIONS}
