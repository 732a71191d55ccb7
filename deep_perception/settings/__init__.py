"""Every setting, with the only defaults, ranges, units and help texts of the package.

ROS parameters, command-line options, ``config/analyzer.yaml`` and the table of parameters are
generated from this file (``options.py``, ``yaml_text.py``). It is longer than the other files so
that one page shows every default. It supports pydantic 1.10 (in Ubuntu 24.04) and 2.

Help texts are noun phrases or imperatives in lower case, as in the help of the command line.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import pydantic

from deep_perception.redaction.addresses import shown

Scalar = bool | int | float | str


def _setting(
    default: Scalar,
    help_text: str,
    *,
    unit: str = "",
    at_least: float | None = None,
    at_most: float | None = None,
    live_at_least: float | None = None,
    live_at_most: float | None = None,
    step: int = 1,
    read_only: bool = False,
    trusted: bool | None = None,
    changes_scenes: bool = True,
) -> Any:
    """A field with its help, unit and range.

    Whole numbers are multiples of ``step``. If ``read_only``, a node that is configured cannot
    change it. If ``trusted``, it is set where the process is started and never by a service: every
    setting that decides which code runs, which files, devices and environment variables are used,
    and what is sent to which address. Text has to be classified, see ``_text``.

    ``live_at_least`` and ``live_at_most`` are the range for a service: with any values in it, an
    analysis takes about twice as long as with the defaults, and there are twice as many.

    ``changes_scenes`` is False only for a setting that says where a result comes from, how fast,
    or what is made of it: a replay resumes with another value of such a setting.
    """
    extra: dict[str, Any] = {
        "unit": unit,
        "at_least": at_least,
        "at_most": at_most,
        "live_at_least": at_least if live_at_least is None else live_at_least,
        "live_at_most": at_most if live_at_most is None else live_at_most,
        "step": step,
        "read_only": read_only or bool(trusted),
        "trusted": trusted,
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


def _text(default: str, help_text: str, *, trusted: bool, changes_scenes: bool = True) -> Any:
    """A field of text without choices.

    ``trusted`` has to be said, because text is what can name code, a file or an address: False is
    for text that is only shown.
    """
    return _setting(default, help_text, trusted=trusted, changes_scenes=changes_scenes)


class PointSettings(pydantic.BaseModel, extra="forbid"):
    """The prompt points."""

    sources: Literal["contours+grid", "contours", "grid"] = _setting(
        "contours+grid", "sources of the prompt points, in this order"
    )
    grid_columns: int = _setting(
        14, "columns of the point grid", at_least=1, at_most=200, live_at_most=24
    )
    grid_rows: int = _setting(
        12, "rows of the point grid", at_least=1, at_most=200, live_at_most=24
    )
    max_contour_points: int = _setting(
        500, "maximum number of contour centroids; the largest contours are used",
        at_least=0, at_most=20000, live_at_most=800,
    )  # fmt: skip
    order: Literal["area", "saliency", "novelty"] = _setting(
        "area",
        "order of the points: contours by area, then the grid (area); salient points first "
        "(saliency); or points first that changed since the last analysed image (novelty)",
    )
    inside: bool = _setting(
        False, "move a centroid that lies outside its contour to the contour's innermost pixel"
    )


class SweepSettings(pydantic.BaseModel, extra="forbid"):
    """The sweep over the points of one image."""

    max_width: int = _setting(
        640, "maximum width of the working image; larger images are reduced to fit",
        unit="px", at_least=16, at_most=8192, live_at_most=800,
    )  # fmt: skip
    max_height: int = _setting(
        480, "maximum height of the working image; larger images are reduced to fit",
        unit="px", at_least=16, at_most=8192, live_at_most=600,
    )  # fmt: skip
    min_mask_area: int = _setting(
        50, "minimum area of a mask; smaller masks are dropped",
        unit="px of the working image", at_least=0, at_most=10**6,
    )  # fmt: skip
    overlap: Literal["allow", "trim", "skip"] = _setting(
        "allow",
        "treatment of pixels that an earlier mask has claimed: allow them in a new mask, trim them "
        "off, or skip a mask that is mostly claimed",
    )
    min_score: float = _setting(
        0.0, "minimum score of a mask; masks with a lower score are dropped",
        at_least=0.0, at_most=1.0,
    )  # fmt: skip
    max_regions: int = _setting(0, "maximum number of regions; 0 means no limit", at_least=0)
    deadline_s: float = _setting(
        0.0, "time after the start of the analysis when the sweep stops; the points that are left "
        "out are reported; 0 means no deadline",
        unit="s", at_least=0.0,
    )  # fmt: skip


class SegmenterSettings(pydantic.BaseModel, extra="forbid"):
    """The segmenter and its weights."""

    backend: str = _text(
        "superpixels",
        "segmenter: superpixels (embedded, no download), sam2, sam2_official (Meta's package) or "
        "your own 'package.module:Class'",
        trusted=True,
    )
    fallback: str = _text(
        "superpixels",
        "segmenter that replaces a backend that is unavailable; every message then contains a "
        "warning; empty means none",
        trusted=True,
    )
    checkpoint: str = _text(
        "checkpoints/sam2.1-hiera-tiny",
        "weights of SAM2: a folder (deep_perception models fetch), Meta's .pt file or a hub id",
        trusted=True,
    )
    config: str = _text(
        "",
        "configuration of a .pt file: a YAML file or its name (sam2.1_hiera_l.yaml); empty means "
        "that it is derived from the weights",
        trusted=True,
    )
    device: str = _text(
        "auto",
        "device of SAM2: auto (cuda, else mps, else cpu), cpu, cuda, cuda:1, mps",
        trusted=True,
    )
    image_size: int = _setting(
        1024, "side of the square image that SAM2 encodes; smaller is faster and coarser",
        unit="px", at_least=256, at_most=1024, step=32, read_only=True,
    )  # fmt: skip
    scale: Literal["best", "small", "medium", "large"] = _setting(
        "best",
        "choice among SAM2's three masks of a point: the one with the best predicted quality, or "
        "by size",
        read_only=True,
    )
    chunk_size: int = _setting(
        0, "number of points that SAM2 decodes at once; 0 means a number that suits the device",
        at_least=0, at_most=1024, live_at_most=64, read_only=True,
    )  # fmt: skip
    fill_holes_area: int = _setting(
        0, "maximum area of holes in a SAM2 mask that are filled; 0 means none",
        unit="px of the working image", at_least=0, at_most=10**6, read_only=True,
    )  # fmt: skip
    drop_specks_area: int = _setting(
        0, "maximum area of components of a SAM2 mask that are dropped; 0 means none",
        unit="px of the working image", at_least=0, at_most=10**6, read_only=True,
    )  # fmt: skip
    largest_component: bool = _setting(
        False, "keep only the largest component of a SAM2 mask", read_only=True
    )


class _ServerSettings(pydantic.BaseModel, extra="forbid"):
    """Settings with the address of a server, whose password is not printed with them."""

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, shown(value) if name == "url" and isinstance(value, str) else value


class DamSettings(_ServerSettings):
    """The server of the Describe Anything Model (DAM)."""

    url: str = _text(
        "http://127.0.0.1:8470/v1",
        "URL of the DAM server: the one that deep_perception starts, or NVIDIA's dam_server.py "
        "(without /v1)",
        trusted=True,
        changes_scenes=False,
    )
    manage_server: bool = _setting(
        True,
        "start the DAM server if nothing answers at describer.dam.url, restart it if it dies, and "
        "stop it at the end",
        trusted=True,
        changes_scenes=False,
    )
    environment: str = _text(
        "~/.local/share/deep_perception/dam",
        "folder of the DAM server's Python environment (deep_perception models setup-dam)",
        trusted=True,
        changes_scenes=False,
    )
    checkpoint: str = _text(
        "checkpoints/DAM-3B-Self-Contained",
        "folder of DAM's weights (deep_perception models fetch dam)",
        trusted=True,
    )
    device: Literal["cuda", "cpu"] = _setting(
        "cuda",
        "device of DAM; cpu is for trials only: it takes minutes per region and needs a larger "
        "describer.region_timeout_s",
        trusted=True,
        changes_scenes=False,
    )
    precision: Literal["fp16", "8bit", "4bit"] = _setting(
        "fp16",
        "precision of DAM's language model: the weights take about 6.6, 4.3 or 3.1 GB of memory, "
        "and inference another 1.5 GB",
        read_only=True,
    )
    max_batch: int = _setting(
        8, "maximum number of regions that DAM describes at once",
        at_least=1, at_most=64, live_at_most=16, read_only=True,
        changes_scenes=False,
    )  # fmt: skip
    max_queue: int = _setting(
        64, "maximum number of regions that wait at the DAM server; further requests are refused "
        "with status 429",
        at_least=1, at_most=4096, live_at_most=256, read_only=True,
        changes_scenes=False,
    )  # fmt: skip
    max_tokens: int = _setting(
        128, "maximum number of tokens per description", at_least=16, at_most=1024, read_only=True
    )
    top_p: float = _setting(
        0.5, "nucleus sampling: tokens are drawn from the likeliest ones up to this probability",
        at_least=0.01, at_most=1.0, read_only=True,
    )  # fmt: skip
    num_beams: int = _setting(
        1, "number of beams of the beam search; 1 means no beam search",
        at_least=1, at_most=16, live_at_most=4, read_only=True,
    )  # fmt: skip
    api_key_env: str = _text(
        "DAM_API_TOKEN",
        "environment variable with the API token of the DAM server; if it is unset, no token is "
        "required",
        trusted=True,
        changes_scenes=False,
    )


class DescriberSettings(_ServerSettings):
    """The describer and its server."""

    backend: str = _text(
        "attributes",
        "describer: attributes (embedded, no download), chat (LM Studio or another "
        "OpenAI-compatible server), dam (Describe Anything Model) or your own "
        "'package.module:Class'",
        trusted=True,
    )
    fallback: str = _text(
        "attributes",
        "describer that replaces a backend while it is unavailable; every message then contains a "
        "warning; empty means none",
        trusted=True,
    )
    scene_deadline_s: float = _setting(
        0.0,
        "time after the start of the analysis of an image file when its scene is returned; regions "
        "without a description are then pending; 0 means when all regions are described; the node "
        "publishes every scene as soon as it is swept, and does not use this",
        unit="s", at_least=0.0, at_most=86400.0,
    )  # fmt: skip
    describe_again: int = _setting(
        16,
        "maximum number of regions per scene that were described by the fallback and are described "
        "again, the largest first, when the backend is available again; 0 means none",
        at_least=0, at_most=1000, live_at_most=64,
    )  # fmt: skip
    cache_size: int = _setting(
        2048, "maximum number of cached descriptions of regions with equal pixels, mask, prompt "
        "and model; 0 means no cache", at_least=0, at_most=10**6, live_at_most=8192, read_only=True,
        changes_scenes=False,
    )  # fmt: skip
    cache_file: str = _text(
        "",
        "SQLite file of the cached descriptions; empty means in memory only",
        trusted=True,
        changes_scenes=False,
    )
    url: str = _text(
        "http://localhost:1234/v1",
        "URL of the chat server, with /v1",
        trusted=True,
        changes_scenes=False,
    )
    model: str = _text(
        "",
        "model of the chat server; empty means the loaded model that accepts images",
        trusted=True,
    )
    load_model: Literal["never", "load", "load+unload"] = _setting(
        "never",
        "whether LM Studio loads describer.model if it is not loaded, and unloads it at the end",
        trusted=True,
        changes_scenes=False,
    )
    load_timeout_s: float = _setting(
        300.0, "maximum time to wait for a model to be loaded",
        unit="s", at_least=1.0, at_most=3600.0, read_only=True,
        changes_scenes=False,
    )  # fmt: skip
    ttl_s: int = _setting(
        0, "idle time after which LM Studio unloads a model that it loaded for a request (not one "
        "that was loaded by hand or by describer.load_model); 0 means the setting of LM Studio",
        unit="s", at_least=0, at_most=86400, read_only=True,
        changes_scenes=False,
    )  # fmt: skip
    api_key_env: str = _text(
        "LM_API_TOKEN",
        "environment variable with the API token of the chat server, if it requires one",
        trusted=True,
        changes_scenes=False,
    )
    prompt: str = _text(
        "",
        "prompt: a name in deep_perception/describers/prompts or the path of your own text file; "
        "empty means region for chat and dam for DAM",
        trusted=True,
    )
    picture_mode: Literal["blur", "dim", "gray", "outline", "cutout"] = _setting(
        "dim",
        "surroundings of a region in the image for the chat server: blurred, darkened, gray, "
        "unchanged (outline), or filled with gray (cutout)",
        trusted=True,
    )
    scene_picture: bool = _setting(
        False,
        "also send the chat server the whole image with the region outlined, which takes more "
        "tokens",
        trusted=True,
    )
    max_concurrency: int = _setting(
        0, "maximum number of simultaneous requests to a server; 0 means the number that the "
        "server reports, or else 4",
        at_least=0, at_most=64, live_at_most=16, read_only=True,
        changes_scenes=False,
    )  # fmt: skip
    region_timeout_s: float = _setting(
        60.0, "maximum time to describe a region, including retries; after it the region fails",
        unit="s", at_least=0.1, at_most=3600.0, read_only=True,
        changes_scenes=False,
    )  # fmt: skip
    max_tokens: int = _setting(
        400, "maximum number of tokens per answer",
        at_least=16, at_most=32768, live_at_most=4096, read_only=True,
    )  # fmt: skip
    temperature: float = _setting(
        0.2, "sampling temperature: 0 means the likeliest answer, larger values more varied ones",
        at_least=0.0, at_most=2.0, read_only=True,
    )  # fmt: skip
    dam: DamSettings = pydantic.Field(default_factory=DamSettings)


class ModelSettings(pydantic.BaseModel, extra="forbid"):
    """The backends in memory."""

    idle_unload_s: float = _setting(
        0.0,
        "idle time after which the models are unloaded; the next keyframe loads them again; "
        "0 means never",
        unit="s", at_least=0.0, at_most=86400.0,
        trusted=True,
        changes_scenes=False,
    )  # fmt: skip


class KeyframeSettings(pydantic.BaseModel, extra="forbid"):
    """The selection of keyframes."""

    mode: Literal["content", "interval"] = _setting(
        "content",
        "analyse a frame if its content has changed (content), or one frame every min_interval_s "
        "(interval)",
    )
    min_interval_s: float = _setting(
        1.0, "minimum time between the stamps of two keyframes; 0 means no minimum",
        unit="s", at_least=0.0, at_most=3600.0, live_at_least=0.5, live_at_most=60.0,
    )  # fmt: skip
    max_interval_s: float = _setting(
        30.0, "time, by the stamps, after which an unchanged view is analysed again; 0 means never",
        unit="s", at_least=0.0, at_most=86400.0,
    )  # fmt: skip
    view_share: float = _setting(
        0.6, "share of the textured tiles that must change for a changed view",
        at_least=0.05, at_most=1.0,
    )  # fmt: skip
    local_tiles: int = _setting(
        4, "number of adjacent tiles, of 16x12, that must change in two successive frames for a "
        "local change; 0 means that local changes are ignored", at_least=0, at_most=192,
    )  # fmt: skip


class IdentitySettings(pydantic.BaseModel, extra="forbid"):
    """The tracks of the regions and the reuse of their descriptions."""

    keep_lost_s: float = _setting(
        10.0,
        "maximum time for which a region can be out of sight and keep its track id",
        unit="s", at_least=0.0, at_most=3600.0,
    )  # fmt: skip
    words_ttl_s: float = _setting(
        600.0,
        "maximum age of a description that is reused while the appearance of its region is "
        "unchanged; 0 means that every keyframe is described anew",
        unit="s", at_least=0.0, at_most=86400.0,
    )  # fmt: skip
    max_lost: int = _setting(
        256, "maximum number of regions out of sight that are kept",
        at_least=0, at_most=4096, live_at_most=512,
    )  # fmt: skip


class OutputSettings(pydantic.BaseModel, extra="forbid"):
    """The files that the command line writes, and the annotated image."""

    folder: str = _text(
        "output",
        "folder for the reports and images of the command line; the node writes no files",
        trusted=True,
        changes_scenes=False,
    )
    max_picture_side: int = _setting(
        1920,
        "maximum length of the longer side of the images that the command line writes; "
        "~/annotated has the size of the camera image",
        unit="px", at_least=64, at_most=16384,
        changes_scenes=False,
    )  # fmt: skip
    labels: Literal["index", "words"] = _setting(
        "index",
        "text of the drawn labels: the index (D1, D2, ...), or the index and the region's label",
        changes_scenes=False,
    )
    opacity: float = _setting(
        0.0,
        "opacity of the colours that are laid over the regions of the annotated image: 0 means "
        "outlines only, so that the image keeps its colours, 1 that small regions are covered; "
        "large regions are tinted less (0.5: as in earlier versions)",
        at_least=0.0, at_most=1.0,
        changes_scenes=False,
    )  # fmt: skip
    jpeg_quality: int = _setting(
        90,
        "JPEG quality of the compressed annotated image",
        at_least=1,
        at_most=100,
        changes_scenes=False,
    )


class RosSettings(pydantic.BaseModel, extra="forbid"):
    """The ROS node."""

    cameras: str = _text(
        "",
        "names of the cameras, separated by commas: each has the input <name>/image and the "
        "outputs ~/<name>/...; empty means one camera with image and ~/...",
        trusted=True,
        changes_scenes=False,
    )
    autostart: bool = _setting(
        True,
        "configure and activate the lifecycle node when it starts",
        trusted=True,
        changes_scenes=False,
    )
    remote_control: bool = _setting(
        True,
        "let services change parameters and the state of the node (lifecycle, ~/set_enabled); "
        "false: they can only ask, for a network on which anybody may call them",
        trusted=True,
        changes_scenes=False,
    )
    transport: Literal["auto", "raw", "compressed"] = _setting(
        "auto",
        "type of the image subscription: sensor_msgs/Image (raw), CompressedImage (compressed), or "
        "the type that is published, preferably raw (auto)",
        read_only=True,
        changes_scenes=False,
    )
    reliability: Literal["best_effort", "reliable"] = _setting(
        "best_effort",
        "reliability QoS of the image subscription",
        read_only=True,
        changes_scenes=False,
    )
    enabled: bool = _setting(
        True,
        "analyse incoming images; the service ~/set_enabled changes it as well",
        changes_scenes=False,
    )
    input_timeout_s: float = _setting(
        5.0, "time without an image after which a warning explains the likely cause; 0 means never",
        unit="s", at_least=0.0, at_most=3600.0,
        changes_scenes=False,
    )  # fmt: skip
    diagnostics_period_s: float = _setting(
        1.0,
        "period of /diagnostics",
        unit="s",
        at_least=0.1,
        live_at_least=0.5,
        at_most=60.0,
        changes_scenes=False,
    )


class Settings(pydantic.BaseModel, extra="forbid"):
    """All settings as one tree. ``Settings()`` has the defaults."""

    points: PointSettings = pydantic.Field(default_factory=PointSettings)
    sweep: SweepSettings = pydantic.Field(default_factory=SweepSettings)
    segmenter: SegmenterSettings = pydantic.Field(default_factory=SegmenterSettings)
    describer: DescriberSettings = pydantic.Field(default_factory=DescriberSettings)
    models: ModelSettings = pydantic.Field(default_factory=ModelSettings)
    keyframes: KeyframeSettings = pydantic.Field(default_factory=KeyframeSettings)
    identity: IdentitySettings = pydantic.Field(default_factory=IdentitySettings)
    output: OutputSettings = pydantic.Field(default_factory=OutputSettings)
    ros: RosSettings = pydantic.Field(default_factory=RosSettings)
