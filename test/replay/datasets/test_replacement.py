"""An export replaces older datasets only when all new ones are complete."""

from pathlib import Path

import pytest

from deep_perception.replay.datasets import EXPORTS, ExportError, check, export
from deep_perception.replay.files import FolderInUse, lock_folder
from support.datasets import content, labelled

pytest.importorskip("pycocotools.coco", reason="needs pycocotools (pip)")


def test_old_datasets_stay_until_all_new_ones_are_complete(copied, scenes):
    before = content(copied)

    def broken(then):
        for number, example in enumerate(scenes):
            if number == then:
                raise OSError("the disk is gone")
            yield example

    class Breaks:
        rounds = 0

        def __iter__(self):
            self.rounds += 1
            return broken(5 if self.rounds == 2 else None)

    with pytest.raises(OSError, match="gone"):
        export(list(EXPORTS), copied, Breaks())
    assert content(copied) == before
    # As after kill -9.
    (copied / ".replay/coco.part/images").mkdir(parents=True)
    with lock_folder(copied / ".replay"), pytest.raises(FolderInUse):
        export(["coco"], copied, scenes)
    export(["coco"], copied, scenes)
    assert content(copied) == before


def test_a_folder_of_the_user_is_not_replaced(scenes, tmp_path):
    mine = tmp_path / "coco/images/mine.jpg"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    with pytest.raises(ExportError, match=r"coco: was not made by --export .* move it away"):
        export(["yolo", "coco"], tmp_path, scenes)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["coco"]
    mine.unlink()
    mine.parent.rmdir()
    export(["coco"], tmp_path, scenes)
    with pytest.raises(ExportError, match="'voc': expected one of coco, yolo, yolo-seg, pairs"):
        export(["voc"], tmp_path, scenes)
    assert Path(tmp_path / "coco/annotations/instances.json").is_file()


def test_targets_that_cannot_be_replaced(tmp_path):
    (tmp_path / "disk").mkdir()
    for target in ("disk", "not_mounted"):
        (tmp_path / "coco").symlink_to(tmp_path / target)
        with pytest.raises(ExportError, match="coco: is a link, and would be replaced by a folder"):
            check(["coco"], tmp_path, None)
        (tmp_path / "coco").unlink()
    with pytest.raises(ExportError, match="cannot be used: File name too long"):
        check(["coco"], tmp_path / ("a" * 300), None)


@pytest.mark.parametrize("how", ["killed", "interrupted"])
def test_an_interruption_during_a_replacement_loses_no_dataset(copied, scenes, monkeypatch, how):
    before = content(copied)
    if how == "killed":
        (copied / "coco").rename(copied / ".replay/coco.part.old.part")
    else:
        replace = Path.replace

        def interrupted(self, target):
            if (self.name, target.name) == ("coco.part", "coco"):
                raise KeyboardInterrupt
            return replace(self, target)

        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(Path, "replace", interrupted)
            export(["coco"], copied, labelled(scenes, ["mug"]))
    # Whatever is exported next.
    export(["yolo"], copied, scenes)
    assert content(copied) == before
