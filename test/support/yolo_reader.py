"""The rules by which Ultralytics 8.4 takes a YOLO dataset or refuses it.

They are in its ultralytics/data/utils.py, and stated here anew: Ultralytics is AGPL and needs
torch. docs/datasets.md says how it was run itself.
"""

from pathlib import Path

import cv2
import numpy as np
import yaml
from PIL import Image


def read_dataset(file):
    """The content of data.yaml, ``train`` and ``val`` as folders."""
    data = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    assert {"train", "val", "names"} <= data.keys()
    names = {int(number): str(name) for number, name in data["names"].items()}
    assert sorted(names) == list(range(len(names)))
    assert data["nc"] == len(names) > 0
    # A path that is not absolute is looked for in the folder that the program runs in, and only
    # then in that of all datasets: without one, it is that of the file.
    root = Path(data.get("path") or Path(file).parent)
    for part in ("train", "val"):
        data[part] = root / data[part]
        assert data[part].is_dir()
    return {**data, "names": names}


def labels_of(picture):
    """Where the labels of a picture are looked for."""
    head, _, tail = str(picture).rpartition("/images/")
    return Path(f"{head}/labels/{tail}").with_suffix(".txt")


def read_labels(picture, classes):
    """Classes (N,), boxes (N, 4) as middle and sides, and outlines: none in a dataset of boxes."""
    with Image.open(picture) as opened:
        assert min(opened.size) > 9
        opened.verify()
    assert picture.read_bytes()[-2:] == b"\xff\xd9"
    rows = [line.split() for line in labels_of(picture).read_text(encoding="utf-8").splitlines()]
    if not rows:
        return np.zeros(0), np.zeros((0, 4)), []
    numbers = np.array([row[0] for row in rows], np.float32)
    outlines = []
    if any(len(row) > 6 for row in rows):
        assert all(len(row) > 6 and len(row) % 2 for row in rows), "boxes and outlines are mixed"
        outlines = [np.array(row[1:], np.float32).reshape(-1, 2) for row in rows]
        corners = np.array([[*each.min(axis=0), *each.max(axis=0)] for each in outlines])
        low, high = corners[:, :2], corners[:, 2:]
        boxes = np.concatenate([(low + high) / 2, high - low], axis=1)
    else:
        boxes = np.array([row[1:] for row in rows], np.float32)
    assert boxes.shape == (len(rows), 4)
    # Ultralytics lets one percent pass.
    assert boxes.max() <= 1
    assert boxes.min() >= 0
    assert (numbers % 1 == 0).all()
    assert numbers.min() >= 0
    assert numbers.max() < classes
    assert len({tuple(row) for row in rows}) == len(rows), "duplicates, which are removed"
    return numbers.astype(int), boxes, outlines


def filled(outline, width, height):
    """The mask of an outline, at the size of the picture."""
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [np.asarray(outline * [width, height], np.int32)], 1)
    return mask > 0
