"""What is made of the scenes of one recording: a bag, a page, and the summary."""

from __future__ import annotations

import time

from deep_perception import __version__
from deep_perception.replay.events import Progress, Tell
from deep_perception.replay.journal import BAG, PAGE, SCENES, SUMMARY, Journal
from deep_perception.replay.journal.scenes import SceneRecord
from deep_perception.replay.outputs.bag import Images, write_bag
from deep_perception.replay.outputs.page import write_page
from deep_perception.replay.outputs.summary import Summary, counts_from, summarize
from deep_perception.replay.recordings.source import Pictures, Source
from deep_perception.settings import Settings

__all__ = ["Images", "write_outputs"]


def write_outputs(
    name: str, images: Images, settings: Settings, source: Source, journal: Journal, tell: Tell
) -> Summary:
    """Make what is not there yet as it is wanted now; each is there whole or not at all.

    ``name``: of the recording. Raises BagError, JournalError and OSError.
    """

    def show(step: str, each: SceneRecord) -> SceneRecord:
        share = (each.log_ns - source.start_ns) / (source.stop_ns - source.start_ns)
        tell(Progress(bag=name, step=step, share=share))
        return each

    pictures = Pictures(source)
    started_s = time.monotonic()
    counts = counts_from(journal.counts)
    drawn = settings.output
    shape = f"{__version__}, images {images}, labels {drawn.labels}, quality {drawn.jpeg_quality}"
    bag, page = journal.made(BAG) != shape, journal.made(PAGE) != __version__
    if bag:
        write_bag(
            journal.part(BAG),
            source.recording,
            source.topics,
            (show("bag", each) for each in journal.scenes()),
            images=images,
            settings=settings.output,
            start_ns=source.start_ns,
            stop_ns=source.stop_ns,
        )
        journal.put(BAG, shape)
    if page:
        write_page(
            journal.part(PAGE),
            title=name,
            seen=journal.scenes,
            picture=lambda each: pictures(show("page", each)),
            stop_ns=source.stop_ns,
            warnings=[
                *counts.warnings,
                *(f"{number} frames left out: {why}" for why, number in counts.lost.items()),
            ],
        )
        journal.put(PAGE, __version__)
    summary = summarize(
        journal.path,
        settings.describer,
        journal.models["the describer"],
        counts,
        bag=name,
        folder=journal.folder,
        topics=tuple(source.topics),
        outputs_s=time.monotonic() - started_s,
        outputs=(PAGE, BAG, SCENES, SUMMARY),
        now=bag or page or not (journal.folder / SUMMARY).exists(),
    )
    if summary.now:
        part = journal.part(SUMMARY)
        part.write_bytes(summary.to_json())
        part.replace(journal.folder / SUMMARY)
    return summary
