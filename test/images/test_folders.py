"""Which files of a folder are analysed, and in which order."""

from pathlib import Path

import pytest

from deep_perception.images import ImageError
from deep_perception.images.folders import expand, images_in


def make(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_the_images_of_a_folder_in_the_order_of_their_numbers(tmp_path):
    make(tmp_path, "b10.png", "b9.JPG", "a.tif", ".hidden.png", "notes.txt", "sub/inside.png",
         "b09.jpg", "2026-05-01.webp")  # fmt: skip
    (tmp_path / "folder.png").mkdir()
    names = [path.name for path in images_in(tmp_path)]
    assert names == ["2026-05-01.webp", "a.tif", "b09.jpg", "b9.JPG", "b10.png"]


def test_folders_and_files_are_taken_in_the_given_order_and_once(tmp_path):
    make(tmp_path, "one/1.png", "one/2.png", "two/1.png", "3.png", "empty/notes.txt")
    given = [tmp_path / name for name in ("3.png", "one", "empty", "one/2.png", "two", "gone.png")]
    files, problems = expand(given)
    assert [str(path.relative_to(tmp_path)) for path in files] == [
        "3.png", "one/1.png", "one/2.png", "two/1.png", "gone.png",
    ]  # fmt: skip
    assert [str(problem) for problem in problems] == [f"{tmp_path}/empty: contains no image file"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "contains no image file$"),
        (["notes.txt", ".a.png"], "contains no image file$"),
        (["left/1.png", "right/1.png"], "contains no image file; .* give left itself"),
        (["metadata.yaml", "drive_0.mcap"], "contains a recording; use deep_perception replay"),
    ],
)
def test_a_folder_without_images_is_an_error_that_says_what_to_do(tmp_path, names, message):
    make(tmp_path, *names)
    with pytest.raises(ImageError, match=message):
        images_in(tmp_path)


def test_a_folder_that_is_gone_is_an_error_of_one_line(tmp_path):
    with pytest.raises(ImageError, match=r"gone: cannot be read \(No such file"):
        images_in(Path(tmp_path / "gone"))
