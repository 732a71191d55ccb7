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
    changes_scenes: bool = True,
) -> Any:
    # Set changes_scenes=False only for a setting that says where a result comes from, how fast, or
    # what is made of it: a replay continues after other values of such a setting.
    extra: dict[str, Any] = {
        "unit": unit,
        "at_least": at_least,
        "at_most": at_most,
        "step": step,
        "read_only": read_only,
        "changes_scenes": changes_scenes,
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


class DamSettings(pydantic.BaseModel, extra="forbid"):
    url: str = _setting(
        "http://127.0.0.1:8470/v1",
        "where the DAM server is: the one that deep_perception starts, or NVIDIA's dam_server.py "
        "(without /v1)",
        read_only=True,
        changes_scenes=False,
    )
    manage_server: bool = _setting(
        True,
        "start the DAM server when nothing answers at describer.dam.url, start it again when it "
        "dies, and stop it at the end",
        read_only=True,
        changes_scenes=False,
    )
    environment: str = _setting(
        "~/.local/share/deep_perception/dam",
        "the Python environment of the DAM server (deep_perception models setup-dam)",
        read_only=True,
        changes_scenes=False,
    )
    checkpoint: str = _setting(
        "checkpoints/DAM-3B-Self-Contained",
        "folder of DAM's weights (deep_perception models fetch dam)",
        read_only=True,
    )
    device: Literal["cuda", "cpu"] = _setting(
        "cuda",
        "where DAM runs; cpu takes minutes a region, wants describer.region_timeout_s to "
        "match, and is for trying only",
        read_only=True,
        changes_scenes=False,
    )
    precision: Literal["fp16", "8bit", "4bit"] = _setting(
        "fp16",
        "of DAM's language model: about 6.6, 4.3 or 3.1 GB of weights, and 1.5 GB to work with",
        read_only=True,
    )
    max_batch: int = _setting(
        8,
        "regions that DAM describes at once",
        at_least=1,
        at_most=64,
        read_only=True,
        changes_scenes=False,
    )
    max_queue: int = _setting(
        64, "regions that wait at the DAM server; more are refused for the moment (status 429)",
        at_least=1, at_most=4096, read_only=True,
        changes_scenes=False,
    )  # fmt: skip
    max_tokens: int = _setting(
        128, "at most this many tokens a description", at_least=16, at_most=1024, read_only=True
    )
    top_p: float = _setting(
        0.5, "the likeliest words up to this probability are drawn from",
        at_least=0.01, at_most=1.0, read_only=True,
    )  # fmt: skip
    num_beams: int = _setting(
        1, "beams of the search for words, 1: none", at_least=1, at_most=16, read_only=True
    )
    api_key_env: str = _setting(
        "DAM_API_TOKEN",
        "the environment variable that holds the DAM server's API token; unset: it wants none",
        read_only=True,
        changes_scenes=False,
    )


class DescriberSettings(pydantic.BaseModel, extra="forbid"):
    backend: str = _setting(
        "attributes",
        "what puts a region into words: attributes (embedded, no download), chat (LM Studio or "
        "another OpenAI-compatible server), dam (Describe Anything Model) or your own "
        "'package.module:Class'",
        read_only=True,
    )
    fallback: str = _setting(
        "attributes",
        "used, and said in every message, while the backend cannot work; empty: none",
        read_only=True,
    )
    scene_deadline_s: float = _setting(
        0.0,
        "the scene is published this long after its analysis began (once it is swept), with the "
        "regions that have no words yet pending; 0: when all have words",
        unit="s", at_least=0.0, at_most=86400.0,
    )  # fmt: skip
    new_keyframe: Literal["finish", "cancel"] = _setting(
        "finish",
        "when the next keyframe comes while regions are described: finish them, or cancel them "
        "(they stay pending)",
        changes_scenes=False,
    )
    describe_again: int = _setting(
        16,
        "when the backend can be used again, at most this many regions of a scene that the "
        "fallback described are described again, the largest first; 0: none",
        at_least=0, at_most=1000,
    )  # fmt: skip
    cache_size: int = _setting(
        2048, "words that are remembered of regions with the same pixels, mask, prompt and model, "
        "0: none", at_least=0, at_most=10**6, read_only=True,
        changes_scenes=False,
    )  # fmt: skip
    cache_file: str = _setting(
        "",
        "SQLite file that keeps the remembered words; empty: in memory only",
        read_only=True,
        changes_scenes=False,
    )
    url: str = _setting(
        "http://localhost:1234/v1",
        "where the chat server is, with /v1",
        read_only=True,
        changes_scenes=False,
    )
    model: str = _setting(
        "", "the chat server's model; empty: the loaded one that takes pictures", read_only=True
    )
    load_model: Literal["never", "load", "load+unload"] = _setting(
        "never",
        "whether LM Studio is told to load describer.model when it is not loaded, and to unload "
        "it at the end",
        read_only=True,
        changes_scenes=False,
    )
    load_timeout_s: float = _setting(
        300.0, "a model that is not loaded after this long is given up",
        unit="s", at_least=1.0, at_most=3600.0, read_only=True,
        changes_scenes=False,
    )  # fmt: skip
    ttl_s: int = _setting(
        0, "LM Studio unloads a model that it loaded by itself for a request after this long "
        "without work (not one that was loaded by hand or by describer.load_model), 0: its own "
        "setting", unit="s", at_least=0, at_most=86400, read_only=True,
        changes_scenes=False,
    )  # fmt: skip
    api_key_env: str = _setting(
        "LM_API_TOKEN",
        "the environment variable that holds the chat server's API token, if it wants one",
        read_only=True,
        changes_scenes=False,
    )
    prompt: str = _setting(
        "",
        "what is asked: a name in deep_perception/prompts, or the path of a text file of your own; "
        "empty: region for chat, dam for DAM",
        read_only=True,
    )
    picture_mode: Literal["blur", "dim", "gray", "outline", "cutout"] = _setting(
        "dim",
        "what the chat server sees around a region: it is blurred, darkened, gray, left as it is, "
        "or filled",
        read_only=True,
    )
    scene_picture: bool = _setting(
        False,
        "show the chat server the whole picture too, with the region outlined: more tokens",
        read_only=True,
    )
    max_concurrency: int = _setting(
        0, "regions that a server is asked at once, 0: what it says it takes, else 4",
        at_least=0, at_most=64, read_only=True,
        changes_scenes=False,
    )  # fmt: skip
    region_timeout_s: float = _setting(
        60.0, "a region without words after this long, retries included, is given up",
        unit="s", at_least=0.1, at_most=3600.0, read_only=True,
        changes_scenes=False,
    )  # fmt: skip
    max_tokens: int = _setting(
        400, "at most this many tokens an answer", at_least=16, at_most=32768, read_only=True
    )
    temperature: float = _setting(
        0.2, "0: the likeliest words, more: more varied", at_least=0.0, at_most=2.0, read_only=True
    )
    dam: DamSettings = pydantic.Field(default_factory=DamSettings)


class ModelSettings(pydantic.BaseModel, extra="forbid"):
    idle_unload_s: float = _setting(
        0.0,
        "the models are unloaded after this long without work, and loaded again with the next "
        "keyframe; 0: never",
        unit="s", at_least=0.0, at_most=86400.0,
        changes_scenes=False,
    )  # fmt: skip


class KeyframeSettings(pydantic.BaseModel, extra="forbid"):
    mode: Literal["content", "interval"] = _setting(
        "content",
        "analyse a frame when what it shows has changed (content), or one every min_interval_s "
        "whatever it shows (interval)",
    )
    min_interval_s: float = _setting(
        1.0, "least time between two analysed frames, by their stamps; 0: as fast as it goes",
        unit="s", at_least=0.0, at_most=3600.0,
    )  # fmt: skip
    max_interval_s: float = _setting(
        30.0, "an unchanged view is analysed again after this long, by the stamps; 0: never",
        unit="s", at_least=0.0, at_most=86400.0,
    )  # fmt: skip
    view_share: float = _setting(
        0.6, "the view has changed when more than this part of its textured tiles has",
        at_least=0.05, at_most=1.0,
    )  # fmt: skip
    local_tiles: int = _setting(
        4, "something in the view has changed when this many tiles that touch did in two frames "
        "running, of 16x12 tiles in all; 0: such changes do not count", at_least=0, at_most=192,
    )  # fmt: skip


class IdentitySettings(pydantic.BaseModel, extra="forbid"):
    keep_lost_s: float = _setting(
        10.0,
        "a region that is out of sight for no longer than this gets its track id back",
        unit="s", at_least=0.0, at_most=3600.0,
    )  # fmt: skip
    words_ttl_s: float = _setting(
        600.0,
        "words are used again while the region looks the same and they are no older than this; "
        "0: describe every keyframe afresh",
        unit="s", at_least=0.0, at_most=86400.0,
    )  # fmt: skip
    max_lost: int = _setting(
        256, "at most this many regions that are out of sight are remembered",
        at_least=0, at_most=4096,
    )  # fmt: skip


class OutputSettings(pydantic.BaseModel, extra="forbid"):
    folder: str = _setting(
        "output",
        "where the command line writes its reports and pictures; the node writes no files",
        changes_scenes=False,
    )
    max_picture_side: int = _setting(
        1920,
        "longest side of the picture files that the command line draws; ~/annotated has the "
        "camera's own size",
        unit="px", at_least=64, at_most=16384,
        changes_scenes=False,
    )  # fmt: skip
    labels: Literal["index", "words"] = _setting(
        "index",
        "what a drawn label says: D1, D2, ... alone or with the region's words",
        changes_scenes=False,
    )
    jpeg_quality: int = _setting(
        90,
        "quality of the compressed annotated image",
        at_least=1,
        at_most=100,
        changes_scenes=False,
    )


class RosSettings(pydantic.BaseModel, extra="forbid"):
    cameras: str = _setting(
        "",
        "names of the cameras, with commas between them: each has its input <name>/image and its "
        "outputs ~/<name>/...; empty: one camera, with image and ~/...",
        read_only=True,
        changes_scenes=False,
    )
    autostart: bool = _setting(
        True,
        "configure and activate the managed node at the start",
        read_only=True,
        changes_scenes=False,
    )
    transport: Literal["auto", "raw", "compressed"] = _setting(
        "auto",
        "subscribe to sensor_msgs/Image (raw), CompressedImage (compressed), or what is published, "
        "raw first (auto)",
        read_only=True,
        changes_scenes=False,
    )
    reliability: Literal["best_effort", "reliable"] = _setting(
        "best_effort",
        "reliability of the image subscription",
        read_only=True,
        changes_scenes=False,
    )
    enabled: bool = _setting(
        True, "analyse incoming images; also ~/set_enabled", changes_scenes=False
    )
    input_timeout_s: float = _setting(
        5.0, "say what is wrong with the input when no image came for this long, 0: never",
        unit="s", at_least=0.0, at_most=3600.0,
        changes_scenes=False,
    )  # fmt: skip
    diagnostics_period_s: float = _setting(
        1.0,
        "period of /diagnostics",
        unit="s",
        at_least=0.1,
        at_most=60.0,
        changes_scenes=False,
    )


class Settings(pydantic.BaseModel, extra="forbid"):
    """The whole tree. ``Settings()`` is the default behaviour."""

    points: PointSettings = pydantic.Field(default_factory=PointSettings)
    sweep: SweepSettings = pydantic.Field(default_factory=SweepSettings)
    segmenter: SegmenterSettings = pydantic.Field(default_factory=SegmenterSettings)
    describer: DescriberSettings = pydantic.Field(default_factory=DescriberSettings)
    models: ModelSettings = pydantic.Field(default_factory=ModelSettings)
    keyframes: KeyframeSettings = pydantic.Field(default_factory=KeyframeSettings)
    identity: IdentitySettings = pydantic.Field(default_factory=IdentitySettings)
    output: OutputSettings = pydantic.Field(default_factory=OutputSettings)
    ros: RosSettings = pydantic.Field(default_factory=RosSettings)
