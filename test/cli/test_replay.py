"""``deep_perception replay`` as a user runs it.

This file is longer than 300 lines because its tests share a finished replay, which takes seconds to
make.
"""

import csv
import fcntl
import json
import os
import pty
import re
import resource
import shutil
import signal
import struct
import subprocess
import termios
from pathlib import Path

import pytest
import yaml

from deep_perception.cli import replay_arguments
from deep_perception.replay import INSTALL, datasets
from support import bag_files, bags
from support.interruption import scene
from support.replays import (
    LEFT,
    QUICK,
    RIGHT,
    ROOT,
    command,
    content,
    environment,
    options,
    run,
    run_command,
    scenes,
    two_cameras,
)


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    return two_cameras(tmp_path_factory.mktemp("recorded") / "drive", frames=20)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def finished(recording, cache, tmp_path_factory):
    """A replay with its outputs, and its result."""
    folder = tmp_path_factory.mktemp("finished")
    done = run_command(recording, "--output", folder, cache=cache)
    assert done.returncode == 0, done.stderr
    return folder, done


def errors(done):
    """The lines that report errors, without their prefix."""
    assert "Traceback" not in done.stderr
    assert all(line.startswith("deep_perception: ") for line in done.stderr.splitlines())
    return [line.removeprefix("deep_perception: ") for line in done.stderr.splitlines()]


# -- output on the terminal -----------------------------------------------------------------------


def test_the_summary_on_the_terminal_and_as_json(finished):
    folder, done = finished
    first, *lines = done.stdout.splitlines()
    assert first == f"drive: {LEFT}, {RIGHT}"
    summary = json.loads((folder / "drive/summary.json").read_text())
    found = scenes(folder / "drive")
    assert summary["schema"] == "deep_perception.summary/1"
    assert summary["frames"] == 40 and summary["frames_lost"] == {}
    assert sum(summary["keyframes"].values()) == len(found)
    assert sum(summary["regions"].values()) == sum(len(each["regions"]) for each in found)
    assert summary["topics"] == [LEFT, RIGHT]
    head, seconds = re.split(r" in ([0-9.]+) s, [0-9.]+ frames/s; ", lines[0])[:2]
    assert head == f"drive: 40 frames of {LEFT}, {RIGHT}"
    assert float(seconds) == pytest.approx(summary["seconds"], abs=0.051)
    assert f"keyframes: {len(found)} (" in lines[1]
    assert f"on {summary['tracks']} tracks" in lines[2]
    assert str(folder / "drive") in lines[-1]
    for name in summary["outputs"]:
        assert (folder / "drive" / name).exists()
        assert name in lines[-1]
    assert errors(done) == []


def test_a_terminal_gets_a_bar_with_the_time_left(recording, cache, tmp_path):
    changes = {**QUICK, "describer.backend": "support.describers:Slow"}
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    process = subprocess.Popen(
        [*command(recording, "--output", tmp_path), *map(str, options(changes))],
        env=environment(cache), stdout=theirs, stderr=theirs, cwd=ROOT,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    while True:
        try:
            shown += os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
    os.close(ours)
    assert process.wait(60) == 0
    text = shown.decode()
    shares = [int(each) for each in re.findall(r"drive, scenes: +(\d+)%", text)]
    assert len(shares) > 3 and shares == sorted(shares)
    assert re.search(r"\d\d:\d\d<\d\d:\d\d", text)
    assert re.search(r"keyframes=\d+, regions=\d+, calls=\d+, cached=\d+", text)
    assert "drive, bag:" in text and "drive, page:" in text


@pytest.mark.slow
def test_finished_outputs_are_not_made_again(recording, finished, cache, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(finished[0], folder)
    before = content(folder)
    times = {path: path.stat().st_mtime_ns for path in folder.rglob("bag.mcap")}
    # Needs no describer: none is there.
    changes = {**QUICK, "describer.backend": "attributes"}
    for how in ([], ["--resume"]):
        done = run(recording, "--output", folder, *how, cache=cache, changes=changes)
        assert done.returncode == 0, done.stderr
        assert "drive: all scenes exist already" in done.stdout
    assert content(folder) == before
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("bag.mcap")} == times
    # Another kind of bag is made of the same scenes.
    done = run(recording, "--output", folder, "--images", "none", cache=cache)
    assert done.returncode == 0, done.stderr
    after = content(folder)
    assert len(after["drive/bag/bag.mcap"]) < len(before["drive/bag/bag.mcap"])
    assert after["drive/scenes.jsonl"] == before["drive/scenes.jsonl"]
    # And what was deleted comes back.
    shutil.rmtree(folder / "drive/bag")
    (folder / "drive/report.html").unlink()
    assert run(recording, "--output", folder, cache=cache).returncode == 0
    assert content(folder) == before


# -- several recordings -------------------------------------------------------------------------


@pytest.mark.slow
def test_a_recording_that_fails_does_not_stop_the_others(recording, finished, cache, tmp_path):
    nothing = tmp_path / "nothing.mcap"
    nothing.write_bytes(b"")
    no_images = bags.write(tmp_path / "talk", bags.words(5))
    again = tmp_path / "again" / "drive"
    again.parent.mkdir()
    shutil.copytree(recording, again)
    # Of the name of a dataset.
    coco = shutil.copytree(recording, tmp_path / "coco")
    done = run(nothing, recording, tmp_path / "gone", no_images, again, coco, "--output",
               tmp_path / "out", cache=cache)  # fmt: skip
    assert done.returncode == 2
    said = errors(done)
    assert len(said) == 3
    for path, line in zip((nothing, tmp_path / "gone", no_images), said, strict=True):
        assert line.startswith(f"{path}: ")
    # Two of one name.
    first = f"{recording.parent.name}_drive"
    one = content(tmp_path / "out")
    expected = content(finished[0])
    for name in ("scenes.jsonl", "bag/bag.mcap"):
        assert one[f"{first}/{name}"] == one[f"again_drive/{name}"] == expected[f"drive/{name}"]
        assert one[f"coco_2/{name}"] == expected[f"drive/{name}"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "again_drive", "coco_2", first,
    ]  # fmt: skip


def test_recordings_do_not_influence_each_other(recording, cache, tmp_path):
    """A second recording gives the same outputs as one that is replayed alone."""
    other = bags.write_bag(tmp_path / "other.bag", bags.moving_scene(20), storage="ros1")
    both = run(recording, other, "--output", tmp_path / "both", cache=cache)
    alone = run(other, "--output", tmp_path / "alone", cache=cache)
    assert both.returncode == alone.returncode == 0, both.stderr
    one, two = content(tmp_path / "both"), content(tmp_path / "alone")
    assert {name: data for name, data in one.items() if name.startswith("other/")} == two


# -- datasets -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_datasets_of_finished_recordings(recording, cache, tmp_path):
    other = bags.write_bag(tmp_path / "other.bag", bags.moving_scene(20), storage="ros1")
    out = tmp_path / "out"
    arguments = (recording, tmp_path / "gone", other, "--output", out, "--export", "pairs, coco")
    done = run(*arguments, cache=cache)
    assert done.returncode == 2
    assert [line.split(":")[0] for line in errors(done)] == [str(tmp_path / "gone"), "datasets"]
    head, *said = done.stdout.partition("datasets:\n")[2].splitlines()
    assert head.endswith(f"labels -> {out / 'labels.csv'}")
    assert [line.split(":")[0].strip() for line in said] == ["pairs", "coco"]
    regions = sum(
        len(each["regions"]) for name in ("drive", "other") for each in scenes(out / name)
    )
    lines = (out / "pairs/pairs.jsonl").read_text().splitlines()
    pairs = [json.loads(line) for line in lines]
    assert len(pairs) == regions
    assert {each["bag"] for each in pairs} == {"drive", "other"}
    assert all((out / "pairs" / each["file_name"]).is_file() for each in pairs)
    # Made once more of the same recordings they are the same.
    before = content(out)
    assert run(*arguments, cache=cache).stdout.endswith(done.stdout.partition("datasets:\n")[2])
    assert content(out) == before


@pytest.mark.slow
def test_edited_labels_are_the_classes(recording, cache, tmp_path):
    out, edited = tmp_path / "out", tmp_path / "map.csv"
    export = (recording, "--output", out, "--export", "yolo")
    assert run(*export, cache=cache).returncode == 0
    rows = list(csv.DictReader((out / "labels.csv").open(encoding="utf-8-sig")))
    assert len(rows) == len(yaml.safe_load((out / "yolo/data.yaml").read_text())["names"]) > 3
    for row in rows:
        row["class"] = "thing" if "red" in row["label"] else ""
    with edited.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    # Through a pipe, which is read only once.
    done = run_command(*export, "--labels", "/dev/stdin", cache=cache, input=edited.read_text())
    assert done.returncode == 0, done.stderr
    assert "all scenes exist already" in done.stdout
    assert "without a class" in done.stdout
    assert yaml.safe_load((out / "yolo/data.yaml").read_text())["names"] == {0: "thing"}
    lines = [line for path in (out / "yolo/labels").rglob("*.txt")
             for line in path.read_text().splitlines()]  # fmt: skip
    assert len(lines) == sum(int(row["count"]) for row in rows if row["class"])


@pytest.mark.slow
def test_errors_of_datasets_are_reported_before_the_replay(recording, cache, tmp_path):
    mine = tmp_path / "out/coco/mine.jpg"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    bad = tmp_path / "map.csv"
    bad.write_text("label,name\ncup,cup\n")
    for arguments, expected in (
        (["--export", "coco"], "was not made by --export"),
        (["--export", "voc"], "'voc': expected some of coco, yolo, yolo-seg, pairs"),
        (["--export", "yolo", "--labels", tmp_path / "no.csv"], "no.csv: cannot be read"),
        (["--export", "yolo", "--labels", bad], "map.csv, line 1: the columns are"),
        (["--labels", bad], "--labels is for datasets; expected --export too"),
    ):
        done = run(recording, "--output", tmp_path / "out", *arguments, cache=cache)
        assert done.returncode == 2
        assert expected in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["coco"]
    assert mine.read_bytes() == b"mine"


def test_the_command_line_offers_all_datasets():
    assert tuple(datasets.EXPORTS) == replay_arguments.EXPORTS


# -- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--every", "0"], "expected a whole number from 1"),
        (["--rate", "-3"], "expected a number of frames above 0"),
        (["--every", "2", "--rate", "3"], "not allowed with argument --every"),
        (["--resume", "--overwrite"], "not allowed with argument --resume"),
        (["--from", "yesterday"], "expected seconds from the bag's start"),
        (["--images", "some"], "invalid choice"),
        (["--workers", "0"], "expected a whole number from 1"),
        (["--points.grid_rows", "0"], "points.grid_rows: 0 is not allowed"),
        (["--topic", "/left/image"], "did you mean '/left/image_raw'"),
        (["--from", "60"], "nothing was recorded between --from and --to"),
        (["--resume"], "there is nothing to resume; leave out --resume"),
        (["--describer.backend", "no_such:Thing", "--describer.fallback", ""], "no_such:Thing"),
    ],
)
def test_bad_arguments_are_reported_in_one_line(recording, cache, tmp_path, arguments, expected):
    done = run(recording, "--output", tmp_path / "out", *arguments, cache=cache, changes={})
    assert done.returncode == 2
    assert expected in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "out").rglob("scenes.jsonl"))


def test_files_of_the_user_are_not_replaced(recording, cache, tmp_path):
    mine = tmp_path / "drive/scenes.jsonl"
    mine.parent.mkdir()
    mine.write_text("mine")
    done = run(recording, "--output", tmp_path, cache=cache)
    assert done.returncode == 2
    (line,) = errors(done)
    assert "scenes.jsonl that is not from this replay" in line and "--overwrite" in line
    assert mine.read_text() == "mine"
    (tmp_path / "drive/notes.txt").write_text("mine too")
    done = run(recording, "--output", tmp_path, "--overwrite", cache=cache)
    assert done.returncode == 0, done.stderr
    assert scenes(tmp_path / "drive")
    assert (tmp_path / "drive/notes.txt").read_text() == "mine too"


def test_a_recording_is_never_written_into(cache, tmp_path):
    bag = bags.write_bag(tmp_path / "drive", bags.moving_scene(3))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    done = run(bag, "--output", tmp_path, cache=cache)
    assert done.returncode == 2
    assert "would be written into the folder of the recording" in errors(done)[0]
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_recording_in_the_folder_of_its_outputs_is_not_deleted(cache, tmp_path):
    inside = bags.write(tmp_path / "mission/bag/mission.mcap", bags.camera(bags.moving_scene(3)),
                        storage="file")  # fmt: skip
    before = inside.read_bytes()
    done = run(inside, "--output", tmp_path, "--overwrite", cache=cache)
    assert done.returncode == 2
    assert "would be written into the folder of the recording" in errors(done)[0]
    assert inside.read_bytes() == before


def test_a_recording_in_the_folder_of_another_ones_outputs_is_not_deleted(cache, tmp_path):
    frames = bags.camera(bags.moving_scene(3))
    one = bags.write(tmp_path / "run.mcap", frames, storage="file")
    inside = bags.write_bag(tmp_path / "run/bag", bags.moving_scene(3))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for given, expected in (
        ([one, inside], "would be written into the folder of the recording"),
        ([one], "may be a recording of yours; move it away, or choose another --output"),
    ):
        done = run(*given, "--output", tmp_path, "--overwrite", cache=cache)
        assert done.returncode == 2
        assert expected in errors(done)[0]
        shutil.rmtree(tmp_path / "run/.replay", ignore_errors=True)
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--segmenter.backend", "sam2", "--segmenter.fallback", ""], "cannot start"),
        (["--topic", "/typo"], "there is no image topic '/typo'"),
        (["--topic", "/typo", "--workers", "2"], "there is no image topic '/typo'"),
    ],
)
def test_an_overwrite_that_cannot_start_keeps_the_old_outputs(
    recording, finished, cache, tmp_path, arguments, expected
):
    out = Path(shutil.copytree(finished[0], tmp_path / "out"))
    done = run(recording, "--output", out, "--overwrite", *arguments, cache=cache)
    assert done.returncode == 2
    assert expected in errors(done)[-1]
    assert content(out) == content(finished[0])
    done = run(recording, "--output", out, cache=cache)
    assert done.returncode == 0
    assert "all scenes exist already" in done.stdout


def test_the_files_of_a_recording_are_replayed_as_one(cache, tmp_path):
    frames = list(bags.camera(bags.moving_scene(8)))
    split = bags.write_split(tmp_path / "split", [frames[:4], frames[4:]])
    done = run(*sorted(split.iterdir()), "--output", tmp_path / "out", cache=cache)
    assert done.returncode == 0
    told = [line.partition(" is ")[::2] for line in errors(done)]
    assert told == [
        (f"{split / name}:", f"a part of {split / 'metadata.yaml'}, which is replayed as a whole")
        for name in ("part_0.mcap", "part_1.mcap")
    ]
    assert json.loads((tmp_path / "out/split/summary.json").read_bytes())["frames"] == 8


def test_an_impossible_output_folder_is_reported(recording, cache, tmp_path):
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file/below"):
        done = run(recording, "--output", out, cache=cache)
        assert done.returncode == 2
        (line,) = errors(done)
        assert line.startswith(f"{out / 'drive'}: cannot be written to ({tmp_path / 'file'}")
        assert line.endswith(": Not a directory); choose another --output")


@pytest.mark.slow
def test_a_full_disk_is_reported_with_its_folder(recording, finished, cache, tmp_path):
    def little():
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))

    out = tmp_path / "out"
    done = run_command(recording, "--output", out, cache=cache, preexec_fn=little)
    assert done.returncode == 2
    assert errors(done) == [
        f"{out / 'drive'}: File too large; what was finished is kept, run the same command again "
        "to resume"
    ]
    assert run(recording, "--output", out, cache=cache).returncode == 0
    assert content(out) == content(finished[0])
    done = run_command(
        recording, "--output", out, "--export", "coco", cache=cache, preexec_fn=little
    )
    assert errors(done) == [f"datasets: writing into {out}: File too large"]


def test_a_recording_that_is_given_twice_is_replayed_once(recording, finished, cache, tmp_path):
    (stored,) = recording.glob("*.mcap")
    twice = (
        recording,
        recording,
        recording / "metadata.yaml",
        stored,
        "--output",
        tmp_path / "out",
    )
    done = run(*twice, cache=cache)
    assert done.returncode == 0
    assert [line.partition(" is ")[0] for line in errors(done)] == [
        f"{recording}:", f"{recording / 'metadata.yaml'}:", f"{stored}:",
    ]  # fmt: skip
    assert content(tmp_path / "out") == content(finished[0])


@pytest.mark.slow
def test_an_interrupted_overwrite_of_several_recordings_resumes_with_all(
    recording, finished, cache, tmp_path
):
    other = shutil.copytree(recording, tmp_path / "other")
    both, out = (recording, other), tmp_path / "out"
    assert run(*both, "--output", out, cache=cache).returncode == 0
    changes = {**QUICK, "points.grid_rows": 3, "describer.backend": "support.describers:Steady"}
    killed = run(*both, "--output", out, "--overwrite", cache=cache, changes=changes, at=[scene(3)])
    assert killed.returncode == -signal.SIGKILL
    assert not (out / "drive/report.html").exists()
    assert (out / "other/report.html").exists()
    done = run(*both, "--output", out, cache=cache, changes=changes)
    assert done.returncode == 0, done.stderr
    assert "exist already" not in done.stdout
    afresh = run(*both, "--output", tmp_path / "afresh", cache=cache, changes=changes)
    assert afresh.returncode == 0
    assert content(out) == content(tmp_path / "afresh")


def test_a_closed_pipe_does_not_stop_the_replay(recording, finished, cache, tmp_path):
    other = shutil.copytree(recording, tmp_path / "other")
    process = subprocess.Popen(
        [*command(recording, other, "--output", tmp_path / "out"), *map(str, options(QUICK))],
        env=environment(cache), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(60) == 0
    assert content(tmp_path / "out/drive") == content(finished[0] / "drive")
    assert len(scenes(tmp_path / "out/other")) == len(scenes(finished[0] / "drive"))


def test_a_recording_of_which_nothing_can_be_read_is_a_failure(cache, tmp_path):
    frames = [each._replace(data=each.data[:200])
              for each in bags.camera(bags.moving_scene(3), compressed_images=True)]  # fmt: skip
    bag = bags.write(tmp_path / "odd", frames)
    done = run(bag, "--output", tmp_path / "out", cache=cache)
    assert done.returncode == 2
    assert "none of its frames could be used" in errors(done)[-1]


def test_deadlines_are_not_used_with_a_warning(recording, finished, cache, tmp_path):
    changes = {**QUICK, "sweep.deadline_s": 0.001, "describer.scene_deadline_s": 0.001}
    done = run(recording, "--output", tmp_path, cache=cache, changes=changes)
    assert done.returncode == 0
    assert [line.split(":")[0] for line in errors(done)] == [
        "describer.scene_deadline_s", "sweep.deadline_s",
    ]  # fmt: skip
    assert content(tmp_path) == content(finished[0])


def test_a_truncated_recording_is_replayed_as_far_as_it_goes(cache, tmp_path):
    bag = bags.write(tmp_path / "cut.mcap", bags.camera(bags.moving_scene(30)), storage="file")
    bag_files.truncate(bag, 0.6)
    done = run(bag, "--output", tmp_path / "out", cache=cache)
    assert done.returncode == 0, done.stderr
    (warning,) = errors(done)
    assert "cut.mcap" in warning and str(tmp_path) not in warning
    found = scenes(tmp_path / "out/cut")
    assert 0 < found[-1]["position"] < 29
    assert json.loads((tmp_path / "out/cut/summary.json").read_text())["warnings"] == [warning]


def test_missing_libraries_are_reported_with_the_command_to_install_them(
    recording, cache, tmp_path
):
    """As after a plain ``pip install .``"""
    (tmp_path / "rosbags.py").write_text("raise ModuleNotFoundError('no', name='rosbags')\n")
    variables = environment(cache)
    variables["PYTHONPATH"] = f"{tmp_path}:{variables['PYTHONPATH']}"
    done = run_command(recording, "--output", tmp_path / "out", cache=cache, env=variables)
    assert done.returncode == 2
    (line,) = errors(done)
    assert line == f"a replay needs the package rosbags: {INSTALL}"


def test_missing_ray_is_reported_with_the_command_to_install_it(recording, cache, tmp_path):
    (tmp_path / "ray.py").write_text("raise ModuleNotFoundError('no', name='ray')\n")
    variables = environment(cache)
    variables["PYTHONPATH"] = f"{tmp_path}:{variables['PYTHONPATH']}"
    done = run_command(
        recording, "--output", tmp_path / "out", "--ray", "local", cache=cache, env=variables
    )
    assert done.returncode == 2
    (line,) = errors(done)
    assert line == f"a replay needs the package ray: {INSTALL} 'ray>=2.60'"
    assert not (tmp_path / "out").exists()


def test_help_names_the_cache_file(cache):
    done = subprocess.run(
        command("--help"), env=environment(cache), capture_output=True, text=True, check=True,
        cwd=ROOT,
    )  # fmt: skip
    for text in ("~/.cache/deep_perception/words.sqlite", "--rate", "--workers", "UNIX time",
                 "--keyframes.mode"):  # fmt: skip
        assert text in done.stdout
