"""Scenes of cameras that move over photographs: real images, regions, tracks and descriptions."""

import dataclasses
from pathlib import Path

import cv2

from deep_perception.analyzer import Analyzer, Callbacks
from deep_perception.describers.attributes import Attributes
from deep_perception.regions import Description
from deep_perception.replay.journal.scenes import SceneRecord, from_line, to_line
from deep_perception.settings.options import settings_from
from deep_perception.stream import Stream

DATA = Path(__file__).parents[1] / "data"
FRONT, REAR = "/front/image_raw", "/rear/image_raw/compressed"
START_NS = 1_767_225_600_000_000_000
STEP_NS = 400_000_000
WIDTH, HEIGHT = 400, 300
REFUSED = "500: the model crashed while it looked at <this> region"


class AwayNowAndThen(Attributes):
    """Describes like ``attributes``, but with reusable descriptions, and fails for some regions."""

    name = "attributes_and_errors"

    def describe(self, image, regions):
        for region, words in super().describe(image, regions):
            if region.index % 7 == 0:
                words = Description(status="failed", error=REFUSED)
            yield region, dataclasses.replace(words, describer=self.name, reusable=True)


def window(photograph, time):
    """The view of a camera at a time of 0..0.5: a window that moves over a photograph."""
    picture = cv2.imread(str(DATA / f"{photograph}.jpg"))
    free_x, free_y = picture.shape[1] - WIDTH, picture.shape[0] - HEIGHT
    x, y = round(2 * max(0, free_x) * time), round(max(0, free_y) * time)
    return cv2.resize(picture[y : y + HEIGHT, x : x + WIDTH], (WIDTH, HEIGHT))


class Photographed:
    """``scenes`` as they are read from a journal, and the ``picture`` of each."""

    def __init__(self, routes, *, steps=10, changes=None):
        """``routes``: topic -> names of photographs, each record for some steps."""
        self._pictures = {}
        self._unreadable = set()
        found = []
        settings = settings_from(
            {
                "describer.backend": f"{__name__}:AwayNowAndThen",
                "keyframes.max_interval_s": 1.5,
                **(changes or {}),
            }
        )
        with Analyzer(settings) as analyzer:
            for topic, photographs in routes.items():
                found += self._follow(analyzer, topic, photographs, steps)
        self.scenes = sorted(found, key=lambda record: (record.log_ns, record.topic))

    def _follow(self, analyzer, topic, photographs, steps):
        stream, number = Stream(), 0
        for place, photograph in enumerate(photographs):
            for step in range(steps):
                position = place * steps + step
                stamp_ns = START_NS + position * STEP_NS
                image = window(photograph, max(0, step / steps - 0.5))
                selected = stream.select(stamp_ns, image.copy, analyzer.settings.keyframes)
                if selected is None:
                    continue
                # A newer frame arrives while the fourth one is described.
                callbacks = Callbacks(is_superseded=lambda late=number == 3: late)
                scene = stream.analyze(analyzer, selected, analyzer.settings, callbacks)
                record = SceneRecord(
                    topic=topic,
                    position=position,
                    log_ns=stamp_ns + 5_000_000,
                    stamp_ns=stamp_ns,
                    frame_id="camera_optical_frame",
                    keyframe=number + 1,
                    reason=selected.decision.reason,
                    scene=scene,
                )
                self._pictures[topic, stamp_ns] = image
                number += 1
                yield from_line(to_line(record))

    def open(self):
        return iter(self.scenes)

    def picture(self, record):
        return self._pictures.get((record.topic, record.stamp_ns))

    def lose_picture(self, record):
        del self._pictures[record.topic, record.stamp_ns]


def with_words(record, place, **words):
    """The scene with another description of one region."""
    regions = list(record.scene.regions)
    regions[place] = regions[place].described(
        dataclasses.replace(regions[place].description, **words)
    )
    return dataclasses.replace(
        record, scene=dataclasses.replace(record.scene, regions=tuple(regions))
    )
