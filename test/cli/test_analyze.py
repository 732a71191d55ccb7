"""The command line as a user runs it, in a process of its own.

This file is longer than 300 lines because its tests share the images and the helpers that run it.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deep_perception import masks

coco = pytest.importorskip("pycocotools.mask", reason="needs pycocotools (pip)")

ROOT = Path(__file__).parents[2]
PHOTOGRAPHS = sorted((ROOT / "test" / "data").glob("*.jpg"))


def deep_perception(*arguments, cwd=None, **variables):
    return subprocess.run(
        [sys.executable, "-m", "deep_perception", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd or ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", **variables},
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    folder = tmp_path_factory.mktemp("analysis")
    done = deep_perception("analyze", *PHOTOGRAPHS, "--output", folder)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(PHOTOGRAPHS)
    return folder


def test_there_are_photographs_to_test_with():
    assert len(PHOTOGRAPHS) >= 4


def test_the_original_output_folders(output):
    for photograph in PHOTOGRAPHS:
        assert (output / "texts" / f"{photograph.stem}_analysis_report.txt").is_file()
        for kind in ("visualization", "contours_debug"):
            with Image.open(output / "images" / f"{photograph.stem}_{kind}.png") as picture:
                assert max(picture.size) >= 960


def test_every_item_of_the_text_report_is_complete(output):
    for photograph in PHOTOGRAPHS:
        text = (output / "texts" / f"{photograph.stem}_analysis_report.txt").read_text()
        with Image.open(photograph) as picture:
            width, height = picture.size
        head, *items = re.split(r"\n\n(?=D\d+\n)", text)
        assert f"Picture: {width}x{height} px" in head
        assert f"Regions: {len(items)}," in head
        for number, item in enumerate(items, start=1):
            found = re.fullmatch(
                r"D(\d+)\n  Source: (contour|grid)\n  Point of interest: \((\d+), (\d+)\)\n"
                r"  Bounding box \(x1, y1, x2, y2\): (\d+), (\d+), (\d+), (\d+)\n"
                r"  Label: .+\n  Description: .+\.\n  Described by: attributes",
                item.strip(),
            )
            assert found, item
            assert int(found[1]) == number
            x, y, x1, y1, x2, y2 = (int(found[group]) for group in range(3, 9))
            assert 0 <= x1 <= x < x2 <= width
            assert 0 <= y1 <= y < y2 <= height


def test_the_json_report_has_masks_that_pycocotools_decodes(output):
    for photograph in PHOTOGRAPHS:
        scene = json.loads(
            (output / "texts" / f"{photograph.stem}_analysis_report.json").read_text()
        )
        for region in scene["regions"]:
            mask = coco.decode(region["segmentation"])
            assert np.array_equal(masks.decode(region["segmentation"]), mask)
            assert mask.shape == (scene["height"], scene["width"])
            assert mask.sum() == region["area"]
            x1, y1, x2, y2 = region["bbox_xyxy"]
            assert mask[y1:y2, x1:x2].sum() == region["area"]


def test_a_bad_file_is_one_line_and_does_not_stop_the_others(tmp_path):
    (tmp_path / "words.png").write_text("no picture")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "nothing").mkdir()
    good = tmp_path / "good.png"
    Image.new("RGB", (64, 48), "red").save(good)
    done = deep_perception(
        "analyze",
        "words.png",
        "missing.png",
        good,
        "empty.jpg",
        "nothing",
        "--output",
        "out",
        cwd=tmp_path,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 4
    names = ("nothing", "words.png", "missing.png", "empty.jpg")
    for line, name in zip(lines, names, strict=True):
        assert line.startswith(f"deep_perception: {name}: ")
    assert (tmp_path / "out" / "images" / "good_visualization.png").is_file()


@pytest.mark.parametrize(
    ("name", "picture"),
    [
        ("one.png", Image.new("RGB", (1, 1), "blue")),
        ("grey.png", Image.new("L", (80, 60), 99)),
        ("alpha.png", Image.new("RGBA", (80, 60), (200, 0, 0, 90))),
        ("cmyk.jpg", Image.new("CMYK", (80, 60), (0, 200, 200, 0))),
        ("deep.png", Image.fromarray(np.full((60, 80), 30_000, np.uint16))),
    ],
)
def test_unusual_pictures_are_analysed(tmp_path, name, picture):
    picture.save(tmp_path / name)
    done = deep_perception("analyze", name, "--output", "out", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    report = tmp_path / "out" / "texts" / f"{Path(name).stem}_analysis_report.txt"
    assert f"Picture: {picture.width}x{picture.height} px" in report.read_text()


def test_folders_pipes_and_standard_input_are_analysed(tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    sizes = {"f2.png": (80, 60), "f10.png": (81, 60)}
    for name, size in sizes.items():
        Image.new("RGB", size, "red").save(folder / name)
    piped = subprocess.run(
        ["bash", "-c", f"cat frames/f2.png | {sys.executable} -m deep_perception analyze frames "
         "/dev/stdin <(cat frames/f10.png) --output out && "
         f"{sys.executable} -m deep_perception analyze - --output out2 < frames/f10.png"],
        capture_output=True, text=True, cwd=tmp_path, timeout=120, check=False,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert (piped.returncode, piped.stderr) == (0, "")
    first, second, from_input, from_pipe, last = piped.stdout.splitlines()
    assert "frames/f2.png: " in first and "frames/f10.png: " in second
    assert "/dev/stdin: " in from_input and "/dev/fd/" in from_pipe and last.startswith("-: ")
    for report, size in (("out/texts/stdin", (80, 60)), ("out2/texts/stdin", (81, 60))):
        text = (tmp_path / f"{report}_analysis_report.txt").read_text()
        assert f"Picture: {size[0]}x{size[1]} px" in text


def test_the_report_says_what_was_done_to_the_pixels(tmp_path):
    depth = np.full((60, 80), 4000, np.uint16)
    depth[20:, 20:50] = 1200
    Image.fromarray(depth).save(tmp_path / "depth.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (80, 60), "red").save(tmp_path / "turned.jpg", exif=exif)
    done = deep_perception("analyze", "depth.png", "turned.jpg", "--output", "out", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    texts = tmp_path / "out" / "texts"
    scenes = {
        name: json.loads((texts / f"{name}_analysis_report.json").read_text())
        for name in ("depth", "turned")
    }
    low, high = scenes["depth"]["intensity_range"]
    assert 0 <= low < 1200 < 4000 < high
    assert scenes["depth"]["exif_orientation"] == 1
    assert scenes["turned"]["intensity_range"] is None
    assert scenes["turned"]["exif_orientation"] == 6
    assert (scenes["turned"]["width"], scenes["turned"]["height"]) == (60, 80)
    assert f"Intensities: {low:g} " in (texts / "depth_analysis_report.txt").read_text()
    assert "EXIF orientation 6" in (texts / "turned_analysis_report.txt").read_text()


@pytest.mark.slow
def test_a_picture_of_200_megapixels_is_analysed_in_its_own_frame(tmp_path):
    picture = Image.new("RGB", (20_000, 10_000), "grey")
    picture.paste((200, 30, 30), (12_000, 2_000, 16_000, 6_000))
    picture.save(tmp_path / "huge.png", compress_level=1)
    done = deep_perception("analyze", "huge.png", "--output", "out", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    report = (tmp_path / "out" / "texts" / "huge_analysis_report.json").read_text()
    boxes = [region["bbox_xyxy"] for region in json.loads(report)["regions"]]
    assert any(
        np.abs(np.subtract(box, (12_000, 2_000, 16_000, 6_000))).max() <= 40 for box in boxes
    )
    with Image.open(tmp_path / "out" / "images" / "huge_visualization.png") as shown:
        assert shown.size == (1920, 960)


def test_files_of_the_same_name_both_keep_their_report(tmp_path):
    for folder, color in (("a", "red"), ("b", "blue")):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (60, 60), color).save(tmp_path / folder / "cup.png")
    assert deep_perception("analyze", "a/cup.png", "b/cup.png", cwd=tmp_path).returncode == 0
    texts = tmp_path / "output" / "texts"
    assert "red" in (texts / "cup_analysis_report.txt").read_text()
    assert "blue" in (texts / "cup_2_analysis_report.txt").read_text()


def test_nothing_is_written_through_links_in_the_output_folder(tmp_path):
    Image.new("RGB", (60, 60), "red").save(tmp_path / "cup.png")
    (tmp_path / "profile").write_text("mine")
    for kind in ("texts/cup_analysis_report.txt", "texts/cup_analysis_report.json",
                 "images/cup_visualization.png", "images/cup_contours_debug.png"):  # fmt: skip
        output = tmp_path / "output" / kind
        output.parent.mkdir(parents=True, exist_ok=True)
        if output.suffix == ".txt":
            output.hardlink_to(tmp_path / "profile")
        else:
            output.symlink_to(tmp_path / "profile")
    assert deep_perception("analyze", "cup.png", cwd=tmp_path).returncode == 0
    assert (tmp_path / "profile").read_text() == "mine"
    assert "red" in (tmp_path / "output/texts/cup_analysis_report.txt").read_text()


def test_numbered_files_with_dots_in_their_names_keep_their_reports(tmp_path):
    names = ["frame.0001", "frame.0002", "2026-05-01T12.30.15"]
    for name in names:
        Image.new("RGB", (60, 60), "red").save(tmp_path / f"{name}.png")
    files = [f"{name}.png" for name in names]
    assert deep_perception("analyze", *files, cwd=tmp_path).returncode == 0
    for name in names:
        for suffix in ("txt", "json"):
            report = tmp_path / "output" / "texts" / f"{name}_analysis_report.{suffix}"
            assert f"{name}.png" in report.read_text()


def test_a_file_name_that_the_terminal_cannot_show_is_analysed(tmp_path):
    for name in ("tölt 猫.png", "after.png"):
        Image.new("RGB", (60, 60), "red").save(tmp_path / name)
    done = deep_perception(
        "analyze", "tölt 猫.png", "after.png", cwd=tmp_path, PYTHONIOENCODING="ascii"
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "output" / "images" / "tölt 猫_visualization.png").is_file()
    assert (tmp_path / "output" / "images" / "after_visualization.png").is_file()


def test_failed_descriptions_are_reported_on_the_terminal_and_in_the_report(tmp_path):
    (tmp_path / "mine.py").write_text(
        "class Shy:\n"
        "    name, model = 'shy', ''\n"
        "    def describe(self, image, regions):\n"
        "        raise ValueError('too shy')\n"
        "        yield\n"
        "    def close(self): pass\n"
    )
    path = f"{ROOT}:{tmp_path}"
    done = deep_perception(
        "analyze", PHOTOGRAPHS[0], "--describer.backend", "mine:Shy", cwd=tmp_path, PYTHONPATH=path
    )
    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    assert "regions not described: ValueError: too shy" in line
    report = tmp_path / "output" / "texts" / f"{PHOTOGRAPHS[0].stem}_analysis_report.txt"
    assert "Warning: " in report.read_text()


def test_a_preset_reports_the_backends_that_are_missing(tmp_path):
    done = deep_perception("analyze", PHOTOGRAPHS[0], "--preset", "grid-dam", "--output", tmp_path)
    assert done.returncode == 0
    report = (tmp_path / "texts" / f"{PHOTOGRAPHS[0].stem}_analysis_report.txt").read_text()
    assert "Source: contour" not in report
    # Without openai the second does not even start.
    for backend, instead in (("'sam2'", "superpixels"), ("(dam server|'dam')", "attributes")):
        assert re.search(rf"Warning: .*{backend}.*'{instead}' is used instead", report)
        assert re.search(backend, done.stderr)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--points.grid_rows", "0"],
            "points.grid_rows: 0 is not allowed; expected a whole number",
        ),
        (["--points.grid_rows", "many"], "invalid int value: 'many'"),
        (["--sweep.overlap", "clip"], "invalid choice: 'clip'"),
        (["--points.grid_row", "5"], "unrecognized arguments: --points.grid_row"),
        (["--points.inside", "maybe"], "'maybe': expected true or false"),
        (["--preset", "fast"], "invalid choice: 'fast'"),
        (["--settings", "none.yaml"], "none.yaml: cannot be read"),
        (["https://example.org/x.jpg"], "has to be downloaded first"),
        (["none*.png"], "no file matches this pattern"),
    ],
)
def test_bad_options_are_refused_with_what_is_allowed(arguments, message):
    done = deep_perception("analyze", PHOTOGRAPHS[0], *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_options_win_over_the_file_and_the_file_over_the_preset(tmp_path):
    (tmp_path / "my.yaml").write_text("points: {sources: contours, grid_rows: 7}\n")
    arguments = ("--preset", "grid-dam", "--settings", tmp_path / "my.yaml")
    for more, proposed in (((), None), (("--points.sources", "grid"), 14 * 7)):
        done = deep_perception(
            "analyze", PHOTOGRAPHS[0], *arguments, *more, "--output", tmp_path / "out"
        )
        assert done.returncode == 0, done.stderr
        (report,) = (tmp_path / "out" / "texts").glob("*.json")
        scene = json.loads(report.read_text())
        if proposed is None:
            assert {region["source"] for region in scene["regions"]} == {"contour"}
        else:
            assert scene["proposed_points"] == proposed


def test_no_ros_is_imported_by_the_core():
    code = (
        "import sys, deep_perception.cli.main, deep_perception.encodings\n"
        "assert not {'rclpy', 'sensor_msgs', 'launch'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT)}, check=False, timeout=60
    )
    assert done.returncode == 0
