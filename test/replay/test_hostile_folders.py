"""Folders of outputs that come from somebody else: a replay reads and writes nothing outside."""

import json
import os
import shutil
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deep_perception.replay.datasets import ExportError, check, labels_csv
from deep_perception.replay.datasets.classes import Row
from deep_perception.replay.datasets.labels_csv import LabelsError
from deep_perception.replay.files import FolderInUse, write_file
from deep_perception.replay.journal import Journal, JournalError, read_scenes
from deep_perception.replay.journal.scenes import SceneError, from_line
from deep_perception.replay.journal.state import State
from deep_perception.replay.outputs.summary import counts_from
from deep_perception.replay.recordings.bags import BagError
from support import bags
from support.replays import content, environment, replay, run_command


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recorded")
    return bags.write_bag(folder / "drive", bags.moving_scene(4, cut_every=2))


@pytest.fixture(scope="module")
def finished(recording, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "drive"
    replay(recording, folder)
    return folder


@pytest.fixture
def unfinished(recording, finished, tmp_path):
    """A folder as after a kill, and a function that replaces values of its state."""
    folder = tmp_path / "drive"
    (folder / ".replay").mkdir(parents=True)
    (folder / "scenes.jsonl").write_bytes((finished / "scenes.jsonl").read_bytes())
    state = (finished / ".replay" / "state").read_bytes().partition(b"\n")[0]

    def change(resume_point=b"", **values):
        head = {**json.loads(state), "finished": False, **values}
        raw = json.dumps(head).encode() + b"\n" + resume_point
        (folder / ".replay" / "state").write_bytes(raw)
        return folder

    return change


HOSTILE_HEADS = [
    {"length": -1}, {"length": 2**70}, {"length": "1"}, {"length": None}, {"length": True},
    {"counts": []}, {"inputs": []}, {"inputs": {"--topic": 1}}, {"models": None},
    {"outputs": {"bag": []}}, {"schema": "deep_perception.replay/5"}, {"schema": []},
    {"schema": "deep_perception.replay/3"}, {"schema": "deep_perception.replay/1"},
]  # fmt: skip


@pytest.mark.parametrize("values", HOSTILE_HEADS)
def test_a_crafted_state_is_refused_in_one_line(recording, unfinished, values):
    folder = unfinished(b"x", **values)
    with pytest.raises(JournalError, match=r"cannot be resumed \(.*--overwrite") as caught:
        replay(recording, folder)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 600
    # And it can be replaced.
    replay(recording, folder, mode="overwrite")
    assert len(list(read_scenes(folder / "scenes.jsonl"))) > 1


def test_a_state_without_models_is_summarised(recording, finished, tmp_path):
    shutil.copytree(finished, tmp_path / "drive")
    state = tmp_path / "drive" / ".replay" / "state"
    head, _, rest = state.read_bytes().partition(b"\n")
    state.write_bytes(json.dumps({**json.loads(head), "models": {}}).encode() + b"\n" + rest)
    replay(recording, tmp_path / "drive")
    assert (tmp_path / "drive" / "summary.json").exists()


@pytest.mark.parametrize(
    "resume_point",
    [b"", b"\x80\x05cos\nsystem\n(S'touch hacked'\ntR.", zlib.compress(b"[]\n"),
     zlib.compress(bytes(10**6))],
)  # fmt: skip
def test_a_crafted_resume_point_is_refused_in_one_line(recording, unfinished, resume_point):
    folder = unfinished(resume_point)
    with pytest.raises(JournalError, match="its saved state is unusable: "):
        replay(recording, folder)


@pytest.mark.parametrize(
    "counts",
    [{"frames": "x"}, {"frames": -1}, {"lost": []}, {"lost": {"a": None}}, {"warnings": "text"},
     {"warnings": [1]}, {"seconds": None}, {"seconds": float("inf")}, {"asked": 2**70}],
)  # fmt: skip
def test_crafted_counts_are_refused(counts):
    with pytest.raises(JournalError, match="counts of the saved state"):
        counts_from(counts)


def test_a_state_of_the_last_version_can_be_overwritten_with_its_bag(recording, unfinished):
    folder = unfinished(outputs={"bag": "all"}, schema="deep_perception.replay/3")
    (folder / "bag").mkdir()
    replay(recording, folder, mode="overwrite")
    assert (folder / "bag" / "metadata.yaml").exists()


@pytest.mark.fuzz
@given(st.binary(max_size=200), st.integers(0, 4000))
def test_states_of_any_bytes(finished, raw, at):
    state = (finished / ".replay" / "state").read_bytes()
    try:
        State.from_bytes(state[:at] + raw + state[at + len(raw) :])
    except ValueError as error:
        assert len(str(error)) < 300


HOSTILE = st.sampled_from(
    [None, True, -1, 0, 2**31, 2**70, 1e308, float("nan"), "", "x", "\x1b", "\ud800", [], [[]], {},
     [9] * 4, [2**40, 2**40], {"size": [2**20, 2**20], "counts": "0"}]
)  # fmt: skip


@pytest.mark.fuzz
@given(data=st.data())
def test_lines_of_scenes_are_read_or_refused(finished, data):
    scene = json.loads((finished / "scenes.jsonl").read_bytes().splitlines()[0])
    scene["regions"] = scene["regions"][:2]
    for _ in range(data.draw(st.integers(1, 2))):
        place = scene
        if data.draw(st.booleans()):
            place = data.draw(st.sampled_from(scene["regions"])) if scene["regions"] else scene
        if isinstance(place, dict):
            place[data.draw(st.sampled_from(sorted(place)))] = data.draw(HOSTILE)
        if not isinstance(scene["regions"], list) or not scene["regions"]:
            break
        if not all(isinstance(each, dict) for each in scene["regions"]):
            break
    try:
        record = from_line(json.dumps(scene))
    except SceneError as error:
        assert str(error).isprintable() and len(str(error)) < 500
        return
    for region in record.scene.regions:
        region.source_mask(region.box)


@pytest.mark.parametrize(
    "line", ["[" * 10**5, "{}", "[]", "1", '"schema"', '{"schema": []}', '{"schema": NaN}',
             '{"schema": "deep_perception.scene/2", "width": 1e999}', "9" * 5000]
)  # fmt: skip
def test_what_is_no_scene_is_refused(line):
    with pytest.raises(SceneError) as caught:
        from_line(line)
    assert len(str(caught.value)) < 500


# -- links -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["scenes.jsonl", ".replay", ".replay/lock"])
def test_nothing_is_written_through_a_link(recording, tmp_path, name):
    folder, victim = tmp_path / "out", tmp_path / "victim"
    (folder / name).parent.mkdir(parents=True)
    if name == ".replay":
        victim.mkdir()
        (victim / "a.part").write_text("precious")
    else:
        victim.write_text("precious")
    (folder / name).symlink_to(victim)
    before = content(tmp_path)
    with pytest.raises((JournalError, FolderInUse)):
        replay(recording, folder)
    assert content(tmp_path).items() >= before.items()
    assert victim.is_dir() or victim.read_text() == "precious"


def test_files_that_are_replaced_are_not_written_through_a_link(recording, tmp_path):
    folder, victim = tmp_path / "out", tmp_path / "victim"
    victim.write_text("precious")
    (folder / ".replay").mkdir(parents=True)
    for name in ("state.part", "summary.json.part", "report.html.part", "bag.part"):
        (folder / ".replay" / name).symlink_to(victim)
    (folder / "report.html").unlink(missing_ok=True)
    replay(recording, folder)
    assert victim.read_text() == "precious"
    write_file(folder / "other", b"new")
    (folder / "other.part").symlink_to(victim)
    write_file(folder / "other", b"newer")
    assert victim.read_text() == "precious" and (folder / "other").read_bytes() == b"newer"


@pytest.mark.parametrize("name", ["scenes.jsonl", ".replay/state"])
def test_a_pipe_is_not_waited_for(recording, unfinished, name):
    folder = unfinished(finished=True, length=0)
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(JournalError):
        replay(recording, folder)


def test_an_edited_list_of_labels_that_is_a_pipe_is_kept(tmp_path):
    os.mkfifo(tmp_path / "labels.csv")
    row = Row(label="mug", count=1, name="mug")
    assert labels_csv.save(tmp_path, [row]) == tmp_path / "labels_new.csv"


def test_a_dataset_folder_with_a_pipe_is_not_read(tmp_path):
    (tmp_path / "coco").mkdir()
    os.mkfifo(tmp_path / "coco" / "README.md")
    with pytest.raises(ExportError, match="was not made by --export"):
        check(["coco"], tmp_path, None)


@pytest.mark.parametrize(
    "data",
    [
        b"\0" * (1 << 26), b"label,class\n" + b"a,b\n" * 2000, b"label,class\n" + b"," * 10**6,
        b"label,class\n\"" + b"x" * 10**6, b"\x1b[31m,\n", b"label,class\n\x1b[2J,\x1b[2J\n,x\n",
        b"[" * 10**6,
    ],
    ids=range(7),
)  # fmt: skip
def test_hostile_lists_of_labels_are_refused_in_one_line(tmp_path, monkeypatch, data):
    monkeypatch.setattr(labels_csv, "MOST_ROWS", 1000)
    path = tmp_path / "labels.csv"
    path.write_bytes(data)
    with pytest.raises(LabelsError) as caught:
        check([], tmp_path, path)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 1000


# -- the command -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_hostile_recording_fails_alone(recording, tmp_path):
    """With names that a terminal would obey; the others are replayed."""
    strange = tmp_path / "a\n\x1b[31mdeep_perception: all is well\u202e.mcap"
    strange.write_bytes(b"\x89MCAP0\r\n" + b"\xff" * 100)
    dots = tmp_path / "...mcap"
    dots.write_bytes(b"no recording")
    output = tmp_path / "inside" / "out"
    done = run_command(recording, strange, dots, "--output", output, cache=tmp_path / "cache",
                       env=environment(tmp_path / "cache"))  # fmt: skip
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 2, done.stderr
    assert all(line.isprintable() for line in (done.stdout + done.stderr).splitlines())
    assert (output / "drive" / "scenes.jsonl").exists()
    assert sorted(path.name for path in (tmp_path / "inside").iterdir()) == ["out"]


def test_an_image_topic_too_many_is_not_searched(tmp_path):
    from deep_perception.replay.recordings.choice import ChoiceError, choose_topics

    found = {f"/camera{number}": (bags.IMAGE, 1) for number in range(2000)}
    with pytest.raises(ChoiceError, match="2000 image topics; choose some with --topic"):
        choose_topics(found, [])
    assert choose_topics(found, ["/camera7"])[0] == ["/camera7"]


def test_a_file_of_a_recording_does_not_lie_in_the_outputs(recording):
    with pytest.raises(BagError, match="choose another --output"):
        replay(recording, recording.parent)


def test_a_journal_in_use_says_so(tmp_path):
    with Journal(tmp_path / "a"), pytest.raises(FolderInUse), Journal(tmp_path / "a"):
        pass
