"""The outputs that are made from the scenes of one recording: a bag, a page, and a summary."""

from __future__ import annotations

import time

from deep_perception._version import __version__
from deep_perception.replay.events import Emit, Progress
from deep_perception.replay.journal import BAG, PAGE, SCENES, SUMMARY, Journal
from deep_perception.replay.journal.scenes import SceneRecord
from deep_perception.replay.outputs.bag import Images, write_bag
from deep_perception.replay.outputs.page import write_page
from deep_perception.replay.outputs.summary import Summary, counts_from, summarize
from deep_perception.replay.recordings.source import ReplaySource, SceneImages
from deep_perception.settings import Settings

__all__ = ["Images", "write_outputs"]


def write_outputs(
    name: str,
    images: Images,
    settings: Settings,
    source: ReplaySource,
    journal: Journal,
    emit: Emit,
) -> Summary:
    """Write the outputs that are missing or were made with other options, each as a whole.

    ``name`` is that of the recording. Raises BagError, JournalError and OSError.
    """

    def with_progress(step: str, record: SceneRecord) -> SceneRecord:
        emit(Progress(bag=name, step=step, share=source.share(record.log_ns)))
        return record

    scene_images = SceneImages(source)
    started_s = time.monotonic()
    counts = counts_from(journal.counts)
    output = settings.output
    options = (
        f"{__version__}, images {images}, labels {output.labels}, quality {output.jpeg_quality}"
    )
    bag_due = journal.output_options(BAG) != options
    page_due = journal.output_options(PAGE) != __version__
    if bag_due:
        write_bag(
            journal.new_output(BAG),
            source.recording,
            source.topics,
            (with_progress("bag", record) for record in journal.scenes()),
            images=images,
            settings=settings.output,
            start_ns=source.start_ns,
            stop_ns=source.stop_ns,
        )
        journal.publish_output(BAG, options)
    if page_due:
        write_page(
            journal.new_output(PAGE),
            title=name,
            records=journal.scenes,
            image_of=lambda record: scene_images.image(with_progress("page", record)),
            stop_ns=source.stop_ns,
            warnings=[
                *counts.warnings,
                *(f"{count} frames left out: {reason}" for reason, count in counts.lost.items()),
            ],
        )
        journal.publish_output(PAGE, __version__)
    summary = summarize(
        journal.path,
        settings.describer,
        journal.models.get("the describer", ""),  # A state of somebody else may have none.
        counts,
        bag=name,
        folder=journal.folder,
        topics=tuple(source.topics),
        outputs_s=time.monotonic() - started_s,
        outputs=(PAGE, BAG, SCENES, SUMMARY),
        now=bag_due or page_due or not (journal.folder / SUMMARY).exists(),
    )
    if summary.now:
        part = journal.new_output(SUMMARY)
        part.write_bytes(summary.to_json())
        part.replace(journal.folder / SUMMARY)
    return summary
