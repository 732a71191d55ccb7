"""Scenes for the tests of datasets, and what is read from the datasets."""

import contextlib
import dataclasses
import functools
import io

from support.photograph_scenes import with_words


def has_words(region):
    return region.description.status in ("described", "reused")


class Scenes:
    """Scenes of recordings by name, with their pictures, that may be gone through again."""

    def __init__(self, recordings):
        self.all = [
            (
                bag,
                dataclasses.replace(record, position=7 * number),
                functools.partial(photographed.picture, record),
            )
            for bag, photographed in recordings.items()
            for number, record in enumerate(photographed.scenes)
        ]

    def __iter__(self):
        return iter(self.all)

    def changed(self, change):
        """The same with other scenes."""
        other = Scenes({})
        other.all = [(bag, change(record), picture) for bag, record, picture in self.all]
        return other

    def written(self):
        """Those with a region that has words: the others teach nothing."""
        return [each for each in self.all if any(map(has_words, each[1].scene.regions))]

    def described(self):
        """Every region with words."""
        return [
            (bag, record, region)
            for bag, record, _ in self.all
            for region in record.scene.regions
            if has_words(region)
        ]


def content(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "lock"
    }


def opened(path):
    from pycocotools.coco import COCO

    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


def same_order(dataset):
    """The annotations in the order of the scenes."""
    return dataset.loadAnns(sorted(dataset.getAnnIds()))


def labelled(scenes, labels):
    """The same scenes, their regions' labels from a list, again and again."""

    def change(record):
        for place, region in enumerate(record.scene.regions):
            if region.description.label:
                record = with_words(record, place, label=labels[place % len(labels)])
        return record

    return scenes.changed(change)


def pictures_of(data):
    return [(part, path) for part in ("train", "val") for path in sorted(data[part].iterdir())]


def shards(folder):
    return [str(path) for path in sorted(folder.glob("*.tar"))]
