"""Resume points: everything in one is saved, and nothing else can be read from a file.

This file is longer than 300 lines because its tests share a state that takes seconds to make.
"""

import dataclasses
import functools
import json
import tracemalloc
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deep_perception.analyzer import Analyzer
from deep_perception.replay.journal import forms, resume, resume_forms
from deep_perception.replay.journal.resume import UnusableState, dumps, loads
from deep_perception.replay.recordings.choice import Sampler
from deep_perception.replay.resume_point import ResumePoint
from deep_perception.settings.options import settings_from
from deep_perception.stamps import FrameStamps
from deep_perception.stream import Stream
from support import bags

CAMERA = "/camera"
SETTINGS = {
    order: settings_from(
        {
            "points.order": order, "points.grid_columns": 4, "points.grid_rows": 3,
            "describer.backend": "support.describers:Steady", "keyframes.min_interval_s": 0.0,
        }
    )
    for order in ("area", "novelty")
}  # fmt: skip
# Attributes that are not saved, because they are used within one frame or follow from others.
NOT_SAVED = {"_before_last", "_preview", "textured"}


def made(order="novelty"):
    """The state behind several keyframes, with lost tracks and reused descriptions."""
    settings, stream, statuses = SETTINGS[order], Stream(), set()
    stamps = FrameStamps()
    with Analyzer(settings) as analyzer:
        for number, image in enumerate(bags.moving_scene(8, cut_every=4)):
            stamp_ns = 1 + number * 500_000_000
            stamps.effective_ns(stamp_ns, stamp_ns + 10**6)
            selected = stream.select(stamp_ns, image.copy, settings.keyframes)
            if selected is not None:
                scene = stream.analyze(analyzer, selected, settings)
                statuses |= {region.description.status for region in scene.regions}
    assert statuses == {"described", "reused"}
    stream.decoder.decode(depth_message(1))
    sampler = Sampler(1, 5.0, 0)
    sampler.takes(SimpleNamespace(topic=CAMERA, log_ns=1))
    return ResumePoint(
        sampler=sampler, streams={CAMERA: stream}, keyframes={CAMERA: 3}, regions=9, position=7,
        log_ns=1, stamps={CAMERA: stamps},
    )  # fmt: skip


@pytest.fixture(scope="module", params=["area", "novelty"])
def order(request):
    return request.param


@pytest.fixture(scope="module")
def resume_point(order):
    return made(order)


def depth_message(offset):
    """A depth image whose range changes with the offset."""
    depth = (np.linspace(1000, 4000, 80 * 60).reshape(60, 80) + 50 * offset).astype(np.uint16)
    return SimpleNamespace(
        height=60, width=80, encoding="16UC1", is_bigendian=0, step=160, data=depth.tobytes()
    )


def again(point, order):
    return loads(dumps(point), SETTINGS[order], [CAMERA])


def test_a_depth_stream_continues_with_its_range(resume_point, order):
    streams = [
        again(resume_point, order).streams[CAMERA],
        again(again(resume_point, order), order).streams[CAMERA],
    ]
    for offset in range(1, 12):
        one, other = (stream.decoder.decode(depth_message(offset)) for stream in streams)
        assert np.array_equal(one, other)
    ranges = [stream.decoder.intensity_range for stream in streams]
    assert ranges[0] == ranges[1] and ranges[0].high > 4000


def test_every_attribute_of_a_resume_point_is_saved(resume_point, order):
    """A new one has to be added to the forms."""
    found = []

    def compare(one, other, path):
        if isinstance(one, np.ndarray):
            assert one.dtype == other.dtype and np.array_equal(one, other), path
        elif isinstance(one, (list, tuple)) and not hasattr(one, "_fields"):
            assert type(one) is type(other) and len(one) == len(other), path
            for number, pair in enumerate(zip(one, other, strict=True)):
                compare(*pair, f"{path}[{number}]")
        elif isinstance(one, dict):
            assert list(one) == list(other), path
            for key in one:
                compare(one[key], other[key], f"{path}[{key}]")
        elif dataclasses.is_dataclass(one) or hasattr(one, "__dict__"):
            assert type(one) is type(other), path
            if type(one).__module__.startswith("deep_perception.settings"):
                assert one == other
                return
            found.append(type(one).__name__)
            left_out = NOT_SAVED | ({"coverage", "skipped_points", "proposed_points", "segmenter",
                                     "segmenter_model", "timings", "intensity_range"}
                                    if type(one).__name__ == "Scene" else set())  # fmt: skip
            # The next keyframe gives each region its track and its description anew.
            if type(one).__name__ == "Region":
                left_out |= {"track_id", "first_seen_ns", "last_described_ns", "revision",
                             "description"}  # fmt: skip
            for name in vars(one).keys() - left_out:
                compare(getattr(one, name), getattr(other, name), f"{path}.{name}")
        else:
            assert type(one) is type(other) and one == other, path

    compare(resume_point, again(resume_point, order), "point")
    assert {"Track", "Viewpoint", "StoredDescription", "Region", "Decision", "RangeState",
            "Sampler", "FrameStamps", "_Clocks"} <= set(found)  # fmt: skip
    first = resume_point.streams[CAMERA].keyframes.last
    second = again(resume_point, order).streams[CAMERA].keyframes.last
    assert (first.last_full is first.thumbnail) == (second.last_full is second.thumbnail)


def test_the_same_state_gives_the_same_bytes(resume_point, order):
    assert dumps(again(resume_point, order)) == dumps(resume_point)


# -- crafted states --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved():
    return zlib.decompress(dumps(made()))


def parts(saved):
    head, _, arrays = saved.partition(b"\n")
    return json.loads(head), arrays


def join(content, arrays):
    return zlib.compress(json.dumps(content).encode() + b"\n" + arrays, 1)


def refused(data):
    with pytest.raises(UnusableState, match="its saved state is unusable: ") as caught:
        loads(data, SETTINGS["novelty"], [CAMERA])
    text = str(caught.value)
    assert len(text) < 300 and text.isprintable()
    return text


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "breaks off"),
        (b"no zlib", "is broken"),
        (zlib.compress(b""), "no end of its first line"),
        (zlib.compress(b"\n"), "is no JSON"),
        (zlib.compress(b"[" * 10**6 + b"\n"), "within each other"),
        (zlib.compress(b"[]\n"), "expected a list of 7"),
        (zlib.compress(b"{}\n"), "expected a list of 7"),
        (zlib.compress(b"[1,2,3,4,5,6,7]\n"), "expected a list of 5"),
        (zlib.compress(b"\x80\x05cos\nsystem\n."), "is no JSON"),
        (zlib.compress(b"[NaN]\n"), "expected a list of 7"),
    ],
)
def test_what_is_no_resume_point_is_refused(data, reason):
    assert reason in refused(data)


def leaves(content, path=()):
    if isinstance(content, list):
        yield path
        for number, item in enumerate(content):
            yield from leaves(item, (*path, number))
    else:
        yield path


@functools.cache
def places(saved):
    content, arrays = parts(saved)
    return content, arrays, list(leaves(content))


def changed(content, path, value):
    if not path:
        return value
    content = list(content)
    content[path[0]] = changed(content[path[0]], path[1:], value)
    return content


HOSTILE = st.sampled_from(
    [None, True, -1, 0, 1, 2, 2**31, 2**62, -(2**70), 10**400, 0.5, -1.0, 1e308, float("nan"),
     float("inf"), "", "x" * 10**5, "\x1b[31m", "\ud800", [], [[]], [1, 2], [10**9, 10**9], {},
     {"a": 1}, [1, 128, 2], [0, 32]]
)  # fmt: skip


@pytest.mark.fuzz
@given(data=st.data())
def test_changed_values_are_refused_or_harmless(saved, data):
    content, arrays, paths = places(saved)
    for _ in range(data.draw(st.integers(1, 3))):
        path = paths[data.draw(st.integers(0, len(paths) - 1))]
        try:
            content = changed(content, path, data.draw(HOSTILE))
        except (IndexError, TypeError):  # An earlier change has removed the place.
            continue
    try:
        point = loads(join(content, arrays), SETTINGS["novelty"], [CAMERA])
    except UnusableState as error:
        assert str(error).isprintable() and len(str(error)) < 400
        return
    continues(point)


@pytest.mark.fuzz
@given(data=st.data())
def test_changed_bytes_are_refused_or_harmless(saved, data):
    """Also arrays with other bytes: numbers that are not finite, empty masks."""
    raw = bytearray(saved)
    start = saved.index(b"\n") if data.draw(st.booleans()) else 0
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(start, len(raw) - 1))
        raw[at : at + 4] = data.draw(st.binary(max_size=8))
    try:
        point = loads(zlib.compress(bytes(raw), 1), SETTINGS["novelty"], [CAMERA])
    except UnusableState as error:
        assert str(error).isprintable() and len(str(error)) < 400
        return
    continues(point)


IMAGES = list(bags.moving_scene(1))


@functools.cache
def one_analyzer():
    return Analyzer(SETTINGS["novelty"])


def continues(point):
    """The next frames are analysed, or fail alone as in a replay."""
    stream, chosen = point.streams[CAMERA], SETTINGS["novelty"]
    point.sampler.takes(SimpleNamespace(topic=CAMERA, log_ns=10**9))
    point.stamps[CAMERA].effective_ns(10**10, 10**10)
    for number, image in enumerate(IMAGES):
        selected = stream.select(10**11 + number * 10**9, image.copy, chosen.keyframes)
        if selected is not None:
            stream.analyze(one_analyzer(), selected, chosen)
    assert dumps(point)


def test_what_is_too_large_when_inflated_is_refused_in_little_memory(monkeypatch):
    monkeypatch.setattr(resume, "LIMIT", 1 << 20)
    bomb = zlib.compress(bytes(1 << 26))
    tracemalloc.start()
    try:
        assert "larger than" in refused(bomb)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 23


def test_a_mask_is_not_larger_than_the_settings_allow(saved):
    content, arrays = parts(saved)
    last = content[1][0][1][3][0]
    last[1], last[2] = [100_000, 1000], [100_000, 1000]
    assert "a working image of" in refused(join(content, arrays))


def test_other_topics_are_refused(saved):
    data = zlib.compress(saved)
    with pytest.raises(UnusableState, match="of other topics"):
        loads(data, SETTINGS["novelty"], ["/other"])


def test_a_resume_point_that_is_too_large_is_not_saved(monkeypatch):
    monkeypatch.setattr(resume, "LIMIT", 1000)
    assert dumps(made()) == b""


def test_every_form_is_made_by_the_package():
    """Nothing in a file chooses a class: the makers are in the forms."""
    makers = {form.make for form in vars(resume_forms).values() if isinstance(form, forms.Fields)}
    assert makers and all(make.__module__.startswith("deep_perception.") for make in makers)
