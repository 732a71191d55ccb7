"""A replay that is killed and run again gives the same outputs as one that was not interrupted.

Each process is interrupted at a point that the test chooses (``support.interruption``). This file
is longer than 300 lines because its tests share the replays that they compare with.
"""

import json
import os
import random
import signal

import pytest

from deep_perception.replay.journal import JournalError
from support.interruption import description, opening, renaming, scene
from support.replay_workers import wait_for
from support.replays import (
    QUICK,
    Replay,
    content,
    environment,
    replay,
    run,
    run_command,
    scenes,
    two_cameras,
)

STEADY = {**QUICK, "describer.backend": "support.describers:Steady", "describer.fallback": ""}
EXPORT = ("--export", "coco,yolo,yolo-seg,pairs")
# Points from the first file to the last one, in the order in which a run reaches them.
LOCK = [opening("*/drive/.replay/lock")]
SCENES_FILE = [opening("*/drive/scenes.jsonl")]
STATE_BEFORE_SCENES = [renaming("*/drive/.replay/state.part")]
SCENE_1, SCENE_3, SCENE_5 = [scene(1)], [scene(3)], [scene(5)]
IN_SCENE = [description(15)]
BETWEEN_SAVED_STATES = [scene(2), opening("*/drive/.replay/state.part")]
IN_SAVED_STATE = [scene(2), renaming("*/drive/.replay/state.part")]
BAG_WRITTEN = [renaming("*.bag.part.part/bag/metadata.yaml")]
# The first renaming of each ends the writing, and the second one moves it to its final path.
BAG_COMPLETE = [renaming("*/drive/.replay/bag.part", 2)]
BAG_PUBLISHED = [*BAG_COMPLETE, opening("*/drive/.replay/state.part")]
PAGE_BEGUN = [opening("*/report.html.part.*.part"), opening("*/page.css")]
PAGE_COMPLETE = [renaming("*/drive/.replay/report.html.part", 2)]
PAGE_PUBLISHED = [*PAGE_COMPLETE, opening("*/drive/.replay/state.part")]
SUMMARY_WRITTEN = [renaming("*/drive/.replay/summary.json.part")]
COCO_BEGUN = [opening("*/coco.part/images/*.jpg")]
PAIRS_HALF_WRITTEN = [opening("*/pairs.part/crops/*.jpg", 40)]
COCO_COMPLETE = [opening("*/coco.part/annotations/instances.json")]
PAIRS_COMPLETE = [opening("*/pairs.part/README.md")]
COCO_BETWEEN_OLD_AND_NEW = [renaming("*/.replay/coco.part")]
POINTS = [
    LOCK, SCENES_FILE, STATE_BEFORE_SCENES, SCENE_3, IN_SCENE, SCENE_1, BETWEEN_SAVED_STATES,
    IN_SAVED_STATE, BAG_WRITTEN, BAG_COMPLETE, BAG_PUBLISHED, PAGE_BEGUN, PAGE_COMPLETE,
    PAGE_PUBLISHED, SUMMARY_WRITTEN, COCO_BEGUN, PAIRS_HALF_WRITTEN, COCO_COMPLETE, PAIRS_COMPLETE,
]  # fmt: skip


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    return two_cameras(tmp_path_factory.mktemp("recorded") / "drive", frames=24)


@pytest.fixture(scope="module")
def in_one_go(recording, tmp_path_factory):
    """The outputs of a run that is not interrupted."""
    folder = tmp_path_factory.mktemp("in_one_go")
    done = run_command(
        recording, "--output", folder / "out", *EXPORT, cache=folder / "cache", changes=STEADY
    )
    assert done.returncode == 0, done.stderr
    return content(folder / "out")


class Drive:
    """The command for one recording, which can be run again and again."""

    def __init__(self, recording, folder, changes=STEADY):
        self.output = folder / "out"
        self.folder = self.output / "drive"
        self._arguments = [recording, "--output", self.output]
        self._how = {"cache": folder / "cache", "changes": changes}

    def interrupted(self, at, number=signal.SIGKILL, save_every_s=0.0):
        """Run until a point; by default the state is saved after every frame."""
        how = {"at": at, "number": number, "save_every_s": save_every_s}
        return run(*self._arguments, *EXPORT, **self._how, **how)

    def killed(self, at, **how):
        done = self.interrupted(at, **how)
        assert done.returncode == -signal.SIGKILL, (at, done.stderr)

    def to_the_end(self, *arguments):
        done = run(*self._arguments, *EXPORT, *arguments, **self._how)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def refused(self, *arguments, changes=None, env=None):
        """The error of a run that cannot use the folder, in one line."""
        how = {**self._how, "changes": {**self._how["changes"], **(changes or {})}, "env": env}
        done = run(*self._arguments, *arguments, **how)
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        return line

    @property
    def state(self):
        """The first line of the saved state."""
        return json.loads((self.folder / ".replay/state").read_bytes().partition(b"\n")[0])


@pytest.fixture
def drive(recording, tmp_path):
    return Drive(recording, tmp_path)


# -- kill -9 --------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_killed_again_and_again(drive, in_one_go, seed):
    """Three choices of four points, each at another stage of the replay."""
    dice = random.Random(seed)
    for number in sorted(dice.sample(range(len(POINTS)), 4)):
        drive.killed(POINTS[number])
    drive.to_the_end()
    assert content(drive.output) == in_one_go


def test_killed_in_the_middle_of_the_scenes(drive, in_one_go):
    for at in (LOCK, SCENES_FILE, SCENE_1, SCENE_3, SCENE_3, IN_SAVED_STATE):
        drive.killed(at)
    drive.to_the_end()
    assert content(drive.output) == in_one_go


@pytest.mark.slow
def test_killed_while_the_outputs_are_made(drive, in_one_go):
    for at in (BAG_WRITTEN, BAG_COMPLETE, BAG_PUBLISHED, PAGE_BEGUN, PAGE_PUBLISHED,
               SUMMARY_WRITTEN):  # fmt: skip
        drive.killed(at)
    drive.to_the_end()
    assert content(drive.output) == in_one_go
    assert not list(drive.output.rglob("*.part*"))


@pytest.mark.slow
def test_killed_while_datasets_are_made(drive, in_one_go):
    drive.to_the_end()
    for at in (COCO_BEGUN, PAIRS_HALF_WRITTEN, COCO_COMPLETE, PAIRS_COMPLETE,
               COCO_BETWEEN_OLD_AND_NEW):  # fmt: skip
        drive.killed(at)
        # Every file is complete or missing.
        for name, data in content(drive.output).items():
            assert name.endswith(".part") or data == in_one_go[name]
    drive.to_the_end()
    assert content(drive.output) == in_one_go
    assert not list(drive.output.rglob("*.part*"))


@pytest.mark.slow
def test_a_resumed_run_does_not_compute_saved_scenes_again(drive):
    drive.killed(SCENE_5)
    saved = (drive.folder / "scenes.jsonl").read_bytes()[: drive.state["length"]]
    stdout = drive.to_the_end()
    assert "resuming behind" in stdout
    behind = int(stdout.split("resuming behind ")[1].split()[0])
    assert behind == saved.count(b"\n") > 1
    assert (drive.folder / "scenes.jsonl").read_bytes().startswith(saved)


@pytest.mark.slow
def test_descriptions_of_a_killed_run_are_used_by_the_next_one(recording, tmp_path):
    """A describer that never answers the same twice; also descriptions of scenes not saved."""
    changes = {**QUICK, "describer.backend": "support.describers:Moody"}
    drive = Drive(recording, tmp_path, changes)
    for count in (3, 20, 25, 30):
        drive.killed([description(count)], save_every_s=3600)
    drive.to_the_end()
    done = run(
        recording, "--output", tmp_path / "two", *EXPORT, cache=tmp_path / "cache", changes=changes
    )
    assert " 0 calls" in done.stdout
    assert content(drive.output) == content(tmp_path / "two")


@pytest.mark.slow
def test_an_incomplete_last_line_is_no_scene(drive, in_one_go):
    """A kill can leave one, and what was written after the last saved state."""
    drive.killed(SCENE_3)
    with (drive.folder / "scenes.jsonl").open("ab") as file:
        file.write(b'{"schema":"deep_perception.scene/1","topic":"/le')
    drive.to_the_end()
    assert content(drive.output) == in_one_go


# -- Ctrl-C, and another process ------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_says_how_to_resume(drive, in_one_go, number):
    done = drive.interrupted(SCENE_3, number=number)
    assert done.returncode == 2
    assert (
        "deep_perception: interrupted; run again with the same command to resume"
        in done.stderr.splitlines()
    )
    assert "Traceback" not in done.stderr + done.stdout
    drive.to_the_end()
    assert content(drive.output) == in_one_go


@pytest.mark.slow
def test_two_processes_do_not_write_into_one_folder(recording, drive, tmp_path):
    first = Replay(recording, "--output", drive.output, cache=tmp_path / "cache", changes=STEADY,
                   at=SCENE_3, number=signal.SIGSTOP)  # fmt: skip
    try:
        wait_for(first.is_stopped, "the first process to stop while it has the folder")
        assert "another process is writing there" in drive.refused()
    finally:
        first.process.kill()
    assert first.finish().returncode == -signal.SIGKILL
    # The lock ends with the process.
    drive.to_the_end()


# -- what cannot be resumed -----------------------------------------------------------------------


@pytest.mark.slow
def test_other_settings_do_not_resume(drive):
    drive.killed(SCENE_3)
    saved = (drive.folder / "scenes.jsonl").read_bytes()
    line = drive.refused("--every", 2, changes={"points.grid_rows": 9})
    assert "--every was '1', is '2'; points.grid_rows was '4', is '9'. " in line
    assert "--overwrite" in line
    assert (drive.folder / "scenes.jsonl").read_bytes() == saved
    # Speed and outputs are not part of the scenes.
    drive.to_the_end("--images", "none", "--describer.cache_size", "100", "--resume")


@pytest.mark.slow
def test_another_model_does_not_resume(drive, tmp_path):
    """A server may have another model than before."""
    drive.killed(SCENE_3)
    line = drive.refused(env={**environment(tmp_path / "cache"), "STEADY_MODEL": "larger"})
    assert "the describer's model was '', is 'larger'. " in line
    drive.to_the_end()


@pytest.mark.parametrize("damage", [b"\x00", b"[]", b"\xff\xff", b'{"reason":[]}', b'"regions"'])
def test_a_damaged_scene_is_reported_with_its_line(finished, damage):
    recording, folder = finished
    path = folder / "scenes.jsonl"
    whole = path.read_bytes()
    first, second, *rest = whole.splitlines()
    path.write_bytes(b"\n".join([first, damage.ljust(len(second)), *rest, b""]))
    try:
        with pytest.raises(JournalError, match=r"scenes\.jsonl, line 2: not a scene: \w+: "):
            replay(recording, folder)
    finally:
        path.write_bytes(whole)


@pytest.fixture(scope="module")
def finished(recording, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "out"
    replay(recording, folder)
    return recording, folder


@pytest.mark.slow
def test_a_damaged_folder_is_not_resumed(drive):
    drive.killed(SCENE_3)
    os.truncate(drive.folder / "scenes.jsonl", 100)
    assert "cannot be resumed (scenes.jsonl has 100 bytes" in drive.refused()
    (drive.folder / ".replay/state").write_bytes(b"\x00\xff")
    assert "--overwrite" in drive.refused()
    drive.to_the_end("--overwrite")
    assert len(scenes(drive.folder)) > 5


@pytest.mark.parametrize("bag", [True, False])
def test_a_journal_of_an_older_version_is_refused_and_can_be_overwritten(drive, in_one_go, bag):
    drive.to_the_end() if bag else drive.killed(SCENE_3)
    state = drive.state
    old = {
        "schema": "deep_perception.replay/1", "asked": state["inputs"], "models": state["models"],
        "length": state["length"], "finished": bag, "outdated": False, "counts": state["counts"],
        "made": state["outputs"],
    }  # fmt: skip
    # The old resume point names modules that do not exist any more.
    resume_point = b"" if bag else b"\x80\x05cdeep_perception.replay.sampling\nSampler\n."
    path = drive.folder / ".replay/state"
    path.write_bytes(json.dumps(old).encode() + b"\n" + resume_point)
    before = content(drive.output)
    line = drive.refused()
    assert line == (
        f"deep_perception: {drive.folder}: cannot be resumed (it was written by an older version "
        "of deep_perception); start again with --overwrite, or choose another --output"
    )
    assert content(drive.output) == before
    drive.to_the_end("--overwrite")
    assert content(drive.output) == in_one_go
