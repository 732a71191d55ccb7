"""How many regions the node has described, with keyframe selection and tracking."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

from benchmarks.harness import Measurement
from deep_perception.analyzer import Analyzer
from deep_perception.images import BgrImage
from deep_perception.regions import Description, Region
from deep_perception.settings.options import settings_from
from deep_perception.stream import Stream
from synthetic.moving_scenes import Script, frames


class Counting:
    """A describer that counts the regions it is given, and takes no time."""

    name, model = "counting", ""
    described = 0

    def describe(
        self, image: BgrImage, regions: Iterable[Region]
    ) -> Iterator[tuple[Region, Description]]:
        """The same description for all regions."""
        for region in regions:
            Counting.described += 1
            words = Description(
                status="described", label="thing", text="A thing.", describer=self.name
            )
            yield region, words

    def close(self) -> None:
        """Do nothing: there is nothing to free."""


def measure(name: str, script: Script) -> Measurement:
    """Count the descriptions after the first keyframe, with one frame per second.

    In the baseline every frame is described anew. An unchanged view is swept every 10 s.
    """
    settings = settings_from(
        {
            "describer.backend": "benchmarks.calls:Counting",
            "keyframes.min_interval_s": 0.0,
            "keyframes.max_interval_s": 10.0,
        }
    )
    stream, described, baseline, shown = Stream(), 0, 0, 0
    with Analyzer(settings) as analyzer, Analyzer(settings) as each_time:
        for frame in frames(dataclasses.replace(script, segment=False)):
            shown += 1
            Counting.described = 0
            selected = stream.select(frame.stamp_ns, frame.image.copy, settings.keyframes)
            if selected is not None:
                stream.analyze(analyzer, selected, settings)
            if shown > 1:
                described += Counting.described
                baseline += len(each_time.analyze(frame.image).regions)
    return {
        "name": name,
        "value": described / baseline,
        "unit": "calls",
        "baseline": float(baseline),
        "ours": float(described),
        "runs": shown,
    }
