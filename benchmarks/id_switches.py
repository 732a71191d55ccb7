"""Id switches in eight synthetic sequences on two photographs, against mask overlap without motion.

Prints switches, fragmentation and IDF1 of every sequence; both sides get the same regions.
Fragmentation counts the gaps that the imitated segmenter leaves, so it is the same on both sides.
"""

from __future__ import annotations

import sys

from benchmarks.harness import Measurement
from deep_perception.settings import IdentitySettings
from deep_perception.tracking.tracker import Tracker
from synthetic.moving_scenes import Frame, Script, frames
from synthetic.track_metrics import Score, TrackEvaluation, overlap_ids
from synthetic.tracking_scripts import ALL

PHOTOGRAPHS = (0, 1)


def run() -> Measurement:
    """The sums over all sequences."""
    ours, baseline = [], []
    for name, script in ALL.items():
        for number in PHOTOGRAPHS:
            pair = compare(script(number))
            ours.append(pair[0])
            baseline.append(pair[1])
            sys.stdout.write(f"  {name + ' ' + str(number):12} {_summary(*pair)}\n")
    total = Score.total(ours), Score.total(baseline)
    sys.stdout.write(f"  {'all':12} {_summary(*total)}\n")
    return {
        "name": "id_switches",
        "value": float(total[0].id_switches),
        "unit": f"of {total[0].regions}",
        "baseline": float(total[1].id_switches),
        "ours": float(total[0].id_switches),
        "runs": len(ours),
    }


def compare(script: Script) -> tuple[Score, Score]:
    """The scores of the tracker and of the baseline for the same frames."""
    sequence = list(frames(script))
    return ours_on(sequence), baseline_on(sequence)


def ours_on(sequence: list[Frame]) -> Score:
    """The score of ``Tracker``."""
    tracker, evaluation = Tracker(), TrackEvaluation()
    for frame in sequence:
        tracked = tracker.update(frame.regions, frame.image, frame.stamp_ns, IdentitySettings())
        evaluation.add(frame.truth, [(region.track_id, region.mask) for region in tracked])
    return evaluation.score()


def baseline_on(sequence: list[Frame]) -> Score:
    """The score of ``overlap_ids``."""
    evaluation = TrackEvaluation()
    given = overlap_ids([frame.regions for frame in sequence])
    for frame, names in zip(sequence, given, strict=True):
        found = [region.mask for region in frame.regions]
        evaluation.add(frame.truth, zip(names, found, strict=True))
    return evaluation.score()


def _summary(ours: Score, baseline: Score) -> str:
    return (
        f"switches {ours.id_switches:4} against {baseline.id_switches:4}, "
        f"fragments {ours.fragments:4} / {baseline.fragments:4}, "
        f"IDF1 {ours.idf1:.3f} / {baseline.idf1:.3f}, of {ours.regions} true regions found"
    )
