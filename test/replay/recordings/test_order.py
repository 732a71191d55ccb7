"""The frames of a recording are sorted, from any start and in any number of files."""

import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deep_perception.replay.recordings.bags import Recording
from deep_perception.replay.recordings.storage.mcap_parts import McapPart
from support import bags
from support.bags import START_NS, TOPIC
from support.recordings import KINDS, LEFT, RIGHT, SUFFIX, pixels, read, seen

HOW = [{"storage": "file", "chunk_size": 100}, {"storage": "file", "chunk_size": 700},
       {"storage": "file", "chunked": False}, {"storage": "file", "indexed": False},
       {"storage": "file", "chunk_size": 300, "compression": "lz4"}, {"storage": "sqlite3"},
       {"storage": "ros1"}]  # fmt: skip
# Few different times and two topics: many that are the same.
STAMPS = st.lists(
    st.tuples(st.sampled_from([LEFT, RIGHT]), st.integers(0, 9)), min_size=1, max_size=30
)


@settings(max_examples=60)
@given(STAMPS, st.sampled_from(HOW), st.integers(-1, 10), st.integers(-1, 10))
def test_frames_are_sorted_by_time_and_topic_from_any_start(
    tmp_path_factory, values, how, start, stop
):
    folder = tmp_path_factory.mktemp("order")
    path = bags.write(folder / f"bag{SUFFIX.get(how['storage'], '')}", pixels(*values), **how)
    expected = sorted(range(len(values)), key=lambda number: (values[number][1], values[number][0]))
    frames, warnings = read(path)
    assert [int(f.image()[0, 0, 0]) for f in frames] == expected
    assert [f.position for f in frames] == list(range(len(values)))
    assert warnings == ()
    part, _ = read(path, start_ns=START_NS + start, stop_ns=START_NS + stop)
    assert seen(part) == seen(f for f in frames if start <= f.log_ns - START_NS < stop)
    shutil.rmtree(folder)


@settings(max_examples=30)
@given(st.lists(STAMPS, min_size=2, max_size=4), st.sampled_from(["mcap", "sqlite3"]))
def test_frames_of_overlapping_files_are_sorted(tmp_path_factory, parts, storage):
    folder = tmp_path_factory.mktemp("split")
    path = bags.write_split(folder / "bag", [pixels(*part) for part in parts], storage=storage)
    expected = sorted(
        (at, topic, file, number)
        for file, part in enumerate(parts)
        for number, (topic, at) in enumerate(part)
    )
    frames, warnings = read(path)
    found = [(f.log_ns - START_NS, f.topic, int(f.image()[0, 0, 0])) for f in frames]
    assert found == [(at, topic, number) for at, topic, _, number in expected]
    assert warnings == ()
    shutil.rmtree(folder)


def test_reading_one_frame_does_not_read_the_whole_recording(tmp_path, monkeypatch):
    number, minute = 200, 60_000_000_000
    values = [(TOPIC, place * minute) for place in range(number)]
    # A chunk for each; two are in the wrong order, and one carries the time of another day.
    values[20], values[21] = values[21], values[20]
    values[40] = TOPIC, 3 * number * minute
    path = bags.write(tmp_path / "bag.mcap", pixels(*values), storage="file", chunk_size=10)
    asked = []
    for name in ("before", "read"):
        real = getattr(McapPart, name)

        def counted(part, *arguments, real=real):
            asked.append(part)
            return real(part, *arguments)

        monkeypatch.setattr(McapPart, name, counted)
    with Recording(path) as recording:
        frames = list(recording.frames([TOPIC]))
        assert len({part.offset for part in asked}) == number
        asked.clear()
        for frame in frames:
            found = next(recording.frames([TOPIC], frame.log_ns))
            assert seen([found]) == seen([frame])
    assert len(asked) < 5 * number


@pytest.mark.parametrize(("storage", "compression"), KINDS)
def test_the_same_recording_is_read_twice_at_once(tmp_path, scene, storage, compression):
    path = tmp_path / f"bag{SUFFIX.get(storage, '')}"
    bags.write(path, scene, storage=storage, compression=compression)
    with Recording(path) as recording:
        first = recording.frames([TOPIC])
        pairs = list(zip(first, recording.frames([TOPIC]), strict=True))
    assert len(pairs) == 12 and all(seen([a]) == seen([b]) for a, b in pairs)
