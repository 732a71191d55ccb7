"""The forms of what a replay knows of its cameras: their clocks, keyframes and tracks.

A new attribute of one of these classes has to be added here, which a test checks.
"""

from __future__ import annotations

from typing import Any, get_args

from deep_perception import masks
from deep_perception.encodings import FrameDecoder
from deep_perception.images import IntensityRange, fitted_size
from deep_perception.images.intensity import MAX_FLOAT, RangeState
from deep_perception.images.pixels import MAX_SIDE, check_size
from deep_perception.keyframes import Decision, Keyframes
from deep_perception.keyframes.changes import COLUMNS, HEIGHT, ROWS, WIDTH, FrameThumbnail
from deep_perception.masks import Size
from deep_perception.regions import (
    MAX_ATTRIBUTES,
    MAX_LABEL,
    MAX_NAME,
    MAX_TEXT,
    MAX_VALUE,
    Description,
    Status,
)
from deep_perception.replay.journal.forms import (
    FLAG,
    Attributes,
    Bits,
    Fields,
    FormError,
    Items,
    Many,
    Maybe,
    Numbers,
    OneOf,
    Real,
    Shared,
    Table,
    Text,
    Whole,
)
from deep_perception.replay.recordings.bags import MAX_TOPIC_NAME
from deep_perception.replay.recordings.choice import Sampler
from deep_perception.stamps import FrameStamps, _Clocks, _Standstill, _WrongUnit
from deep_perception.tracking.appearance import FARTHEST, LARGEST, POINTS, QUANTILES, Appearance
from deep_perception.tracking.motion import SIDE, Exposure, ViewFeatures
from deep_perception.tracking.track import StoredDescription, Track, TrackMemory, Viewpoint
from deep_perception.tracking.tracker import Tracker

# Topics of a recording, and tracks of a viewpoint (``identity.max_lost`` is at most 4096).
MAX_TOPICS, MAX_TRACKS = 4096, 1 << 16

COUNT = Whole(0, 2**63)
STAMP = Whole()
TIME = Maybe(STAMP)
TOPIC = Text(MAX_TOPIC_NAME)


# -- what is known of every frame ------------------------------------------------------------------

SAMPLER = Fields(
    Sampler,
    every=Whole(1, 2**63),
    rate_hz=Real(0.0, 1e9),
    start_ns=STAMP,
    _counts=Table(TOPIC, COUNT, MAX_TOPICS),
    _due_ns=Table(TOPIC, STAMP, MAX_TOPICS),
)
STAMPS = Fields(
    FrameStamps,
    problem=Text(200),
    _standstill=Fields(
        _Standstill, newest_ns=TIME, arrival_ns=STAMP, since_ns=STAMP, frames=COUNT
    ),
    _clocks=Fields(_Clocks, newest_ns=TIME, known=Table(STAMP, STAMP, 64)),
    _wrong_unit=Fields(
        _WrongUnit, first_ns=TIME, arrival_ns=STAMP, newest_ns=STAMP, frames=COUNT,
        has_scaled_fractions=FLAG,
    ),
    _good_since_ns=TIME, _offset_ns=TIME, _doubt_ns=TIME,
    _last_ns=STAMP, _bias_ns=STAMP, _arrival_ns=STAMP,
)  # fmt: skip


def _size(width: int, height: int) -> Size:
    check_size(width, height)
    return Size(width, height)


def _range(low: float, high: float) -> IntensityRange:
    if not low < high:
        raise FormError(f"a range from {low} to {high}")
    return IntensityRange(low, high)


SIZE = Fields(_size, width=Whole(1, MAX_SIDE), height=Whole(1, MAX_SIDE))
# There is a margin around the largest measurement.
_INTENSITY = Real(-10 * MAX_FLOAT, 10 * MAX_FLOAT)
RANGE = Maybe(Fields(_range, low=_INTENSITY, high=_INTENSITY))


# What tells images apart that cannot share a range.
_KIND = Items(Text(16), Whole(0, 8), FLAG)
DECODER = Attributes(
    FrameDecoder,
    _state=Fields(RangeState, range=RANGE, kind=_KIND, target=RANGE, outside=COUNT, narrow=COUNT),
    intensity_range=RANGE,
)
THUMBNAIL = Fields(
    FrameThumbnail,
    size=SIZE,
    grey=Numbers("<f4", (HEIGHT, WIDTH)),
    tones=Numbers("<f4", (4, ROWS * COLUMNS)),
    histogram=Numbers("<f4", (52,), high=1.0),
)
# The last frame that was swept as a whole often is the last keyframe.
_ONE_THUMBNAIL = Shared(THUMBNAIL)
DECISION = Fields(
    Decision,
    reason=OneOf(("first", "scene", "view", "local", "heartbeat", "requested")),
    stamp_ns=STAMP,
    changed=Maybe(Bits((ROWS, COLUMNS))),
    thumbnail=_ONE_THUMBNAIL,
    last_full=_ONE_THUMBNAIL,
)
# ``_before_last`` and ``_preview`` are used within one frame only.
KEYFRAMES = Attributes(
    Keyframes, _requested=FLAG, _newest_ns=TIME, _decided_ns=TIME, _last=Maybe(DECISION),
    _changing=FLAG, _preview_ns=TIME,
)  # fmt: skip

# -- the tracks ------------------------------------------------------------------------------------

_FACTOR = Real(1e-30, 1e30)
# CIELAB.
_QUANTILES = Numbers("<f4", (1, QUANTILES, 3), -256.0, 256.0)
APPEARANCE = Fields(
    Appearance,
    points=Numbers("<f4", (1, POINTS, 2), -FARTHEST, FARTHEST),
    bgr=Numbers("|u1", (1, POINTS, 3)),
    levels=Numbers("|u1", (1, 2)),
    quantiles=_QUANTILES,
    area=Numbers("<f4", (1,), high=LARGEST),
)
DESCRIPTION = Fields(
    Description,
    status=OneOf(get_args(Status)),
    label=Text(MAX_LABEL),
    text=Text(MAX_TEXT),
    attributes=Table(Text(MAX_NAME), Text(MAX_VALUE), MAX_ATTRIBUTES),
    describer=Text(MAX_NAME),
    model=Text(MAX_NAME),
    prompt_id=Text(MAX_NAME),
    latency_s=Real(0.0, 1e9),
    truncated=FLAG,
    error=Text(),
    reusable=FLAG,
)
STORED = Fields(
    StoredDescription,
    description=DESCRIPTION,
    stamp_ns=STAMP,
    quantiles=_QUANTILES,
    share=Real(0.0, 1.0),
)
TRACK = Fields(
    Track,
    id=Text(64),
    first_seen_ns=STAMP,
    seen_ns=STAMP,
    appearance=APPEARANCE,
    share=Real(0.0, 1.0),
    descriptions=Many(STORED, 16),
    published=Maybe(DESCRIPTION),
    revision=Whole(0, 2**31),
    question=Maybe(STORED),
)


def _features(**fields: Any) -> ViewFeatures:
    found = ViewFeatures(**fields)
    expected = fitted_size(*found.size, SIDE // 2, SIDE // 2)
    if masks.size_of(found.grey) != expected or len(found.corners) != len(found.descriptors):
        raise FormError(f"features that are not of an image of {found.size}")
    return found


def _viewpoint(**fields: Any) -> Viewpoint:
    found = Viewpoint(**fields)
    if any(track.id != name for name, track in found.tracks.items()):
        raise FormError("a track under the id of another one")
    return found


VIEWPOINT = Fields(
    _viewpoint,
    features=Fields(
        _features,
        size=SIZE,
        grey=Numbers("|u1", (None, None)),
        corners=Numbers("<f4", (None, 2), -1.0, MAX_SIDE),
        descriptors=Numbers("|u1", (None, 32)),
    ),
    exposure=Fields(Exposure, gain=_FACTOR, offset=Real(-1e30, 1e30)),
    tracks=Table(Text(64), TRACK, MAX_TRACKS),
)
TRACKER = Attributes(
    Tracker,
    _memory=Attributes(
        TrackMemory, viewpoints=Many(VIEWPOINT, 16), stamp_ns=STAMP, _ids_given=COUNT
    ),
)
