"""How many regions need a describer, as the node works: keyframes, identity, and what changed."""

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
    """A describer that counts what it is asked for, and takes no time."""

    name, model = "counting", ""
    asked = 0

    def describe(
        self, image: BgrImage, regions: Iterable[Region]
    ) -> Iterator[tuple[Region, Description]]:
        """Words that say nothing."""
        for region in regions:
            Counting.asked += 1
            words = Description(
                status="described", label="thing", text="A thing.", describer=self.name
            )
            yield region, words

    def close(self) -> None:
        """Nothing to give back."""


def measure(name: str, script: Script) -> Measurement:
    """Calls after the first keyframe; one frame a second, each described afresh, is the baseline.

    The view is swept again every 10 s, whatever it shows.
    """
    settings = settings_from(
        {
            "describer.backend": "benchmarks.calls:Counting",
            "keyframes.min_interval_s": 0.0,
            "keyframes.max_interval_s": 10.0,
        }
    )
    stream, asked, afresh, shown = Stream(), 0, 0, 0
    with Analyzer(settings) as analyzer, Analyzer(settings) as each_time:
        for frame in frames(dataclasses.replace(script, segment=False)):
            shown += 1
            Counting.asked = 0
            selected = stream.select(frame.stamp_ns, frame.image.copy, settings.keyframes)
            if selected is not None:
                stream.analyze(analyzer, selected, settings)
            if shown > 1:
                asked += Counting.asked
                afresh += len(each_time.analyze(frame.image).regions)
    return {
        "name": name,
        "value": asked / afresh,
        "unit": "calls",
        "baseline": float(afresh),
        "ours": float(asked),
        "runs": shown,
    }
