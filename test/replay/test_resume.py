"""A replay that is killed at any time and run again gives what it would have given in one go."""

import json
import os
import random
import signal
import subprocess
import time

import pytest

from deep_perception.replay.files import remove
from deep_perception.replay.journal import JournalError
from support.replays import (
    QUICK,
    command,
    content,
    environment,
    options,
    replay,
    run,
    scenes,
    two_cameras,
)

# Words take a while, so that there is time to be killed in.
SLOW = {**QUICK, "describer.backend": "support.describers:Slow", "describer.fallback": ""}
EXPORT = ("--export", "coco,yolo,yolo-seg,pairs")


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    return two_cameras(tmp_path_factory.mktemp("recorded") / "drive", frames=48)


@pytest.fixture(scope="module")
def in_one_go(recording, tmp_path_factory):
    """What is to come of it, and the seconds that this takes."""
    folder = tmp_path_factory.mktemp("in_one_go")
    started = time.monotonic()
    done = run(recording, "--output", folder / "out", *EXPORT, cache=folder / "cache", changes=SLOW)
    assert done.returncode == 0, done.stderr
    return content(folder / "out"), time.monotonic() - started


class Killed:
    """The command, killed when ``moment(folder, seconds)`` says so."""

    def __init__(self, recording, folder, *arguments, cache, changes=SLOW):
        self.folder = folder
        self.command = [
            *command(recording, "--output", folder, *EXPORT, *arguments),
            *map(str, options(changes)),
        ]
        self.environment = environment(cache)

    def until(self, moment, how=signal.SIGKILL):
        """Whether it was killed, and not at its end before."""
        process = subprocess.Popen(
            self.command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True,
        )  # fmt: skip
        started = time.monotonic()
        while process.poll() is None and not moment(self.folder, time.monotonic() - started):
            time.sleep(0.002)
        process.send_signal(how)
        self.said = process.communicate(timeout=60)[0]
        self.code = process.returncode
        return self.code == -how

    def to_the_end(self):
        done = subprocess.run(
            self.command, env=self.environment, capture_output=True, text=True, timeout=300,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout


def state(folder):
    """The first line of what is saved of a run; nothing when it is being replaced or not there."""
    try:
        return json.loads((folder / "drive/.replay/state").read_bytes().partition(b"\n")[0])
    except (OSError, ValueError):
        return {}


def after(seconds):
    return lambda folder, now: now >= seconds


def when_saved(count):
    """When so many bytes of scenes are saved, in the middle of the scenes after them."""
    return lambda folder, now: state(folder).get("length", 0) > count


def while_there(name):
    return lambda folder, now: (folder / "drive" / name).exists()


def parts(pattern):
    def moment(folder, now):
        return any((folder / "drive/.replay").glob(pattern))

    return moment


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_random_times_again_and_again(recording, in_one_go, tmp_path, seed):
    expected, takes_s = in_one_go
    dice = random.Random(seed)
    killed = Killed(recording, tmp_path / "out", cache=tmp_path / "cache")
    deaths = sum(killed.until(after(dice.uniform(0.4, takes_s))) for _ in range(4))
    assert deaths
    killed.to_the_end()
    assert content(tmp_path / "out") == expected


def test_killed_in_the_middle_of_the_scenes(recording, in_one_go, tmp_path):
    expected, _ = in_one_go
    killed = Killed(recording, tmp_path / "out", cache=tmp_path / "cache")
    # Before anything is there, with the first scene, after some are saved, and then on.
    for moment in (while_there(".replay"), while_there("scenes.jsonl"), when_saved(0),
                   when_saved(20_000), when_saved(40_000)):  # fmt: skip
        assert killed.until(moment)
    killed.to_the_end()
    assert content(tmp_path / "out") == expected


def test_killed_while_the_outputs_are_made(recording, in_one_go, tmp_path):
    expected, _ = in_one_go
    killed = Killed(recording, tmp_path / "out", cache=tmp_path / "cache")
    folder = tmp_path / "out/drive"
    # While the bag is made, when it is in its place, while the page is made, with the summary.
    for name, moment in (("bag", parts("*bag.part")), ("bag", while_there("bag")),
                         ("report.html", parts("report.html.part*")),
                         ("report.html", while_there("report.html")),
                         ("report.html", parts("summary.json.part"))):  # fmt: skip
        for _ in range(6):
            # It may be over before anybody looks: then once more.
            remove(folder / name)
            if killed.until(moment):
                break
        else:
            assert name == "report.html" and (folder / name).exists()
    killed.to_the_end()
    assert content(tmp_path / "out") == expected
    assert not list((tmp_path / "out").rglob("*.part*"))


def test_killed_while_datasets_are_made(recording, in_one_go, tmp_path):
    expected, _ = in_one_go
    killed = Killed(recording, tmp_path / "out", cache=tmp_path / "cache")
    killed.to_the_end()

    def part(pattern):
        return lambda folder, now: any((folder / ".replay").glob(pattern))

    # With the first picture, in the middle, at the end, while one takes the place of another.
    for pattern in ("coco.part", "pairs.part/crops/*", "coco.part/annotations/instances.json",
                    "pairs.part/README.md", "*.old.part"):  # fmt: skip
        assert any(killed.until(part(pattern)) for _ in range(6)) or pattern == "*.old.part"
        # Whole, or not there.
        for name, data in content(tmp_path / "out").items():
            assert name.endswith(".part") or data == expected[name]
    killed.to_the_end()
    assert content(tmp_path / "out") == expected
    assert not list((tmp_path / "out").rglob("*.part*"))


def test_a_run_that_goes_on_makes_nothing_again_that_is_there(recording, tmp_path):
    killed = Killed(recording, tmp_path / "out", cache=tmp_path / "cache")
    assert killed.until(when_saved(20_000))
    before = (tmp_path / "out/drive/scenes.jsonl").read_bytes()[: state(tmp_path / "out")["length"]]
    said = killed.to_the_end()
    assert "going on behind" in said
    behind = int(said.split("going on behind ")[1].split()[0])
    assert behind == before.count(b"\n") > 1
    assert (tmp_path / "out/drive/scenes.jsonl").read_bytes().startswith(before)


def test_words_that_a_killed_run_got_are_the_words_of_the_next(recording, tmp_path):
    """Of a describer that never says the same twice: also those of scenes that were not saved."""
    changes = {**QUICK, "describer.backend": "support.describers:Moody"}
    killed = Killed(recording, tmp_path / "one", cache=tmp_path / "cache", changes=changes)
    deaths = 0
    for seconds in (1.2, 1.5, 1.8, 2.2):
        deaths += killed.until(after(seconds))
    assert deaths
    killed.to_the_end()
    done = run(
        recording, "--output", tmp_path / "two", *EXPORT, cache=tmp_path / "cache", changes=changes
    )
    assert " 0 calls" in done.stdout
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_half_a_line_at_the_end_is_no_scene(recording, in_one_go, tmp_path):
    """What a kill may leave, and what was written after the last save."""
    expected, _ = in_one_go
    killed = Killed(recording, tmp_path / "out", cache=tmp_path / "cache")
    assert killed.until(when_saved(10_000))
    with (tmp_path / "out/drive/scenes.jsonl").open("ab") as file:
        file.write(b'{"schema":"deep_perception.scene/1","topic":"/le')
    killed.to_the_end()
    assert content(tmp_path / "out") == expected


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_says_how_to_go_on(recording, in_one_go, tmp_path, number):
    expected, _ = in_one_go
    killed = Killed(recording, tmp_path / "out", cache=tmp_path / "cache")
    killed.until(when_saved(0), how=number)
    assert killed.code == 2
    assert (
        "deep_perception: interrupted; run again with the same command to go on"
        in killed.said.splitlines()
    )
    assert "Traceback" not in killed.said
    killed.to_the_end()
    assert content(tmp_path / "out") == expected


def test_two_at_once_do_not_write_into_one_folder(recording, tmp_path):
    first = Killed(recording, tmp_path / "out", cache=tmp_path / "cache")
    refused = []

    def moment(folder, now):
        if when_saved(0)(folder, now):
            refused.append(run(recording, "--output", folder, cache=tmp_path / "cache",
                               changes=SLOW))  # fmt: skip
        return bool(refused)

    first.until(moment)
    assert refused[0].returncode == 2
    assert "another process is writing there" in refused[0].stderr
    # And it does not stay locked.
    first.to_the_end()


def test_other_settings_do_not_go_on(recording, tmp_path):
    killed = Killed(recording, tmp_path / "out", cache=tmp_path / "cache")
    assert killed.until(when_saved(0))
    saved = (tmp_path / "out/drive/scenes.jsonl").read_bytes()
    other = run(recording, "--output", tmp_path / "out", "--every", 2, cache=tmp_path / "cache",
                changes={**SLOW, "points.grid_rows": 9})  # fmt: skip
    assert other.returncode == 2
    assert "--every was '1', is '2'; points.grid_rows was '4', is '9'. " in other.stderr
    assert "--overwrite" in other.stderr and len(other.stderr.splitlines()) == 1
    assert (tmp_path / "out/drive/scenes.jsonl").read_bytes() == saved
    # How fast, and what is made of the scenes, may be another.
    killed.command += ["--images", "none", "--describer.cache_size", "100", "--resume"]
    killed.to_the_end()


def test_another_model_does_not_go_on(recording, tmp_path):
    """The server may have been given another one in the meantime."""
    killed = Killed(recording, tmp_path / "out", cache=tmp_path / "cache")
    assert killed.until(when_saved(0))
    other = run(recording, "--output", tmp_path / "out", cache=tmp_path / "cache", changes=SLOW,
                env={**environment(tmp_path / "cache"), "SLOW_MODEL": "larger"})  # fmt: skip
    assert other.returncode == 2
    assert "the describer's model was '', is 'larger'. " in other.stderr
    killed.to_the_end()


@pytest.mark.parametrize("damage", [b"\x00", b"[]", b"\xff\xff", b'{"reason":[]}', b'"regions"'])
def test_a_scene_that_is_damaged_later_is_said_with_its_line(recording, tmp_path, damage):
    replay(recording, tmp_path / "out")
    path = tmp_path / "out" / "scenes.jsonl"
    first, second, *rest = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([first, damage.ljust(len(second)), *rest, b""]))
    with pytest.raises(JournalError, match=r"scenes\.jsonl, line 2: not a scene: \w+: "):
        replay(recording, tmp_path / "out")


def test_a_folder_that_is_damaged_is_not_gone_on_with(recording, tmp_path):
    killed = Killed(recording, tmp_path / "out", cache=tmp_path / "cache")
    assert killed.until(when_saved(0))
    folder = tmp_path / "out/drive"
    os.truncate(folder / "scenes.jsonl", 100)
    done = run(recording, "--output", tmp_path / "out", cache=tmp_path / "cache", changes=SLOW)
    assert done.returncode == 2
    assert "cannot be gone on with (scenes.jsonl has 100 bytes" in done.stderr
    (folder / ".replay/state").write_bytes(b"\x00\xff")
    done = run(recording, "--output", tmp_path / "out", cache=tmp_path / "cache", changes=SLOW)
    assert done.returncode == 2 and "--overwrite" in done.stderr
    done = run(recording, "--output", tmp_path / "out", "--overwrite", cache=tmp_path / "cache",
               changes=SLOW)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(scenes(folder)) > 5
