"""The rules by which Ultralytics 8.4 accepts or refuses a YOLO dataset.

They reimplement those of ultralytics/data/utils.py, because Ultralytics is AGPL and needs torch.
docs/datasets.md says how Ultralytics itself was run.
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
    # Ultralytics searches a relative path in the working folder, then in that of all datasets.
    # Without a path, the folder of the file is used.
    root = Path(data.get("path") or Path(file).parent)
    for part in ("train", "val"):
        data[part] = root / data[part]
        assert data[part].is_dir()
    return {**data, "names": names}


def labels_of(picture):
    """The path of the labels of an image."""
    head, _, tail = str(picture).rpartition("/images/")
    return Path(f"{head}/labels/{tail}").with_suffix(".txt")


def read_labels(picture, classes):
    """Class ids (N,), boxes (N, 4) as centre and sides, and outlines, if the dataset has them."""
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
    # Ultralytics accepts an excess of one percent.
    assert boxes.max() <= 1
    assert boxes.min() >= 0
    assert (numbers % 1 == 0).all()
    assert numbers.min() >= 0
    assert numbers.max() < classes
    assert len({tuple(row) for row in rows}) == len(rows), "duplicates, which are removed"
    return numbers.astype(int), boxes, outlines


def filled(outline, width, height):
    """The mask of an outline, at the size of the image."""
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [np.asarray(outline * [width, height], np.int32)], 1)
    return mask > 0
