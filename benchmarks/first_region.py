"""The time from a 640x480 image to its first described region, against the end of its sweep.

The server answers in 0.2 s, four requests at once. The masks are those of the embedded segmenter,
but one point takes DECODE_S, as with SAM2 tiny on a CPU, because the embedded sweep alone ends
before any server answers. The line above the result is the loop of the original, in which the
sweep waits for each description: its first description is as early, its last one much later.
"""

from __future__ import annotations

import statistics
import sys
import time

import numpy as np
import openai
from numpy.typing import NDArray

from benchmarks import words
from benchmarks.harness import Measurement
from deep_perception import masks
from deep_perception.analyzer import Analyzer, Callbacks
from deep_perception.images import BgrImage
from deep_perception.points import propose
from deep_perception.regions import Region
from deep_perception.segmenters.superpixels import Regions, Superpixels
from deep_perception.settings import PointSettings, SweepSettings
from deep_perception.sweep import Sweep
from synthetic.photographs import photograph

SLOTS, DECODE_S, RUNS = 4, 0.022, 5


class PointByPoint(Superpixels):
    """The embedded segmenter at SAM2's pace."""

    chunk_size = 1

    def masks(
        self, embedding: Regions, points: NDArray[np.int64]
    ) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        time.sleep(DECODE_S * len(points))
        return super().masks(embedding, points)


def run() -> Measurement:
    """Measure the median seconds after the image arrived."""
    picture = photograph(640, 480)
    ours, loop = _Ours(picture), _Loop(picture)
    with words.chat_server(SLOTS) as url:
        settings = words.settings(
            url, **{"segmenter.backend": "benchmarks.first_region:PointByPoint"}
        )
        client = openai.OpenAI(base_url=url, api_key="none", max_retries=0)
        with Analyzer(settings) as analyzer:
            for _ in range(RUNS + 1):  # The first run connects and warms up.
                ours.analyze(analyzer)
                loop.describe(client)
        client.close()
    first, last = statistics.median(loop.first_s[1:]), statistics.median(loop.last_s[1:])
    sys.stdout.write(
        f"{'':28} the original's loop: first region after {first:.3g} s, last after {last:.3g} s; "
        f"ours last after {statistics.median(ours.last_s[1:]):.3g} s\n"
    )
    seconds = statistics.median(ours.first_s[1:])
    return {
        "name": "first_region",
        "value": seconds,
        "unit": "s",
        "baseline": statistics.median(ours.swept_s[1:]),
        "ours": seconds,
        "runs": RUNS,
    }


class _Ours:
    def __init__(self, picture: BgrImage) -> None:
        self._picture = picture
        self.first_s: list[float] = []
        self.last_s: list[float] = []
        self.swept_s: list[float] = []

    def analyze(self, analyzer: Analyzer) -> None:
        described: list[float] = []
        swept: list[float] = []

        def on_region(region: Region) -> None:
            if region.description.status != "described":
                raise AssertionError(region.description)
            described.append(time.perf_counter() - started)

        def on_progress(settled: int, proposed: int) -> None:
            if settled == proposed:
                swept.append(time.perf_counter() - started)

        started = time.perf_counter()
        analyzer.analyze(
            self._picture, callbacks=Callbacks(on_region=on_region, on_progress=on_progress)
        )
        self.first_s.append(described[0])
        self.last_s.append(described[-1])
        self.swept_s.append(swept[0])


class _Loop:
    """One region after the other: its mask, its description, then the mask of the next one."""

    def __init__(self, picture: BgrImage) -> None:
        self._picture = picture
        self._segmenter = PointByPoint()
        self.first_s: list[float] = []
        self.last_s: list[float] = []

    def describe(self, client: openai.OpenAI) -> None:
        size = masks.size_of(self._picture)
        described: list[float] = []
        started = time.perf_counter()
        sweep = Sweep(
            segmenter=self._segmenter,
            points=propose(self._picture, PointSettings()),
            embedding=self._segmenter.embed(self._picture),
            size=size,
            settings=SweepSettings(),
        )
        for index, claim in enumerate(sweep, start=1):
            region = Region.from_mask(
                index=index, point=claim.point, mask=claim.mask, score=claim.score, source=size
            )
            words.ask(client, self._picture, region)
            described.append(time.perf_counter() - started)
        self.first_s.append(described[0])
        self.last_s.append(described[-1])
