"""Every setting: the only defaults, ranges, units and help texts of the package.

ROS parameters, command-line options, ``config/analyzer.yaml`` and the README's table are generated
from here (``options.py``). Written for pydantic 1.10 (what Ubuntu 24.04 ships) and 2 alike.
"""

from __future__ import annotations

from typing import Any, Literal

import pydantic

Scalar = bool | int | float | str


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
        "what puts a region into words: attributes (embedded, no download), chat (LM Studio or "
        "another OpenAI-compatible server) or your own 'package.module:Class'",
        read_only=True,
    )
    fallback: str = _setting(
        "attributes",
        "used, and said in every message, while the backend cannot work; empty: none",
        read_only=True,
    )
    url: str = _setting(
        "http://localhost:1234/v1", "where the chat server is, with /v1", read_only=True
    )
    model: str = _setting(
        "", "the chat server's model; empty: the loaded one that takes pictures", read_only=True
    )
    api_key_env: str = _setting(
        "LM_API_TOKEN",
        "the environment variable that holds the chat server's API token, if it wants one",
        read_only=True,
    )
    prompt: str = _setting(
        "region",
        "what the chat server is asked: a name in deep_perception/prompts, or the path of a text "
        "file of your own",
        read_only=True,
    )
    picture_mode: Literal["blur", "dim", "gray", "outline", "cutout"] = _setting(
        "dim",
        "what the chat server sees around a region: it is blurred, darkened, gray, left as it is, "
        "or filled",
        read_only=True,
    )
    max_concurrency: int = _setting(
        0, "regions that the chat server is asked at once, 0: what it says it takes, else 4",
        at_least=0, at_most=64, read_only=True,
    )  # fmt: skip
    region_timeout_s: float = _setting(
        60.0, "a region without words after this long, retries included, is given up",
        unit="s", at_least=0.1, at_most=3600.0, read_only=True,
    )  # fmt: skip
    scene_deadline_s: float = _setting(
        0.0, "regions without words this long after the describing began stay pending, 0: never",
        unit="s", at_least=0.0, at_most=86400.0, read_only=True,
    )  # fmt: skip
    max_tokens: int = _setting(
        400, "at most this many tokens an answer", at_least=16, at_most=32768, read_only=True
    )
    temperature: float = _setting(
        0.2, "0: the likeliest words, more: more varied", at_least=0.0, at_most=2.0, read_only=True
    )


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
