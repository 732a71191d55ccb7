"""Track ids in whole sequences with an imperfect segmenter, evaluated against the truth."""

import dataclasses

import numpy as np
import pytest

from deep_perception.description import regions_to_describe
from deep_perception.tracking.tracker import Tracker
from support.tracking import SETTINGS, description
from synthetic.moving_scenes import frames, segmented
from synthetic.track_metrics import TrackEvaluation, overlap_ids
from synthetic.tracking_scripts import ALL, pan, still


def scores(sequence):
    """The scores of the tracker and of the baseline."""
    tracker, ours, baseline = Tracker(), TrackEvaluation(), TrackEvaluation()
    baseline_ids = overlap_ids([frame.regions for frame in sequence])
    for frame, names in zip(sequence, baseline_ids, strict=True):
        tracked = tracker.update(frame.regions, frame.image, frame.stamp_ns, SETTINGS)
        ours.add(frame.truth, [(region.track_id, region.mask) for region in tracked])
        baseline.add(
            frame.truth, zip(names, (region.mask for region in frame.regions), strict=True)
        )
        track_ids = [region.track_id for region in tracked]
        assert len(set(track_ids)) == len(track_ids)
    return ours.score(), baseline.score()


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_track_ids_are_stable(name):
    ours, baseline = scores(list(frames(ALL[name](0))))
    assert ours.id_switches <= 0.05 * ours.regions
    assert ours.id_switches < 0.35 * baseline.id_switches
    assert ours.idf1 > 0.84 and ours.idf1 > baseline.idf1 + 0.1


@pytest.mark.slow
def test_track_ids_are_stable_with_the_real_segmenter_and_a_turning_camera():
    sequence = [
        dataclasses.replace(frame, regions=segmented(frame.image))
        for frame in frames(dataclasses.replace(pan(0), frames=10, segment=False))
    ]
    ours, baseline = scores(sequence)
    assert ours.regions > 100
    assert ours.id_switches <= 0.04 * ours.regions < 0.2 * baseline.id_switches


def test_a_mostly_static_view_needs_few_descriptions():
    tracker = Tracker()
    described = total = 0
    for number, frame in enumerate(frames(still(0))):
        tracked = tracker.update(frame.regions, frame.image, frame.stamp_ns, SETTINGS)
        selected = regions_to_describe(tracked, "chat", len(tracked))
        for region in selected:
            tracker.store_description(
                region.described(description(region.track_id)), frame.stamp_ns
            )
        described += len(selected) if number else 0
        total += len(tracked) if number else 0
    assert described <= 0.25 * total


def test_the_score_of_a_hand_made_table():
    # Regions A (left) and B (right) in six frames. A: 1 1 2 2 - 2, B: always 3.
    truth = np.zeros((20, 40), np.int32)
    truth[:, 20:] = 1
    evaluation = TrackEvaluation()
    for name in ("1", "1", "2", "2", "", "2"):
        masks = [("3", truth == 1)] + ([(name, truth == 0)] if name else [])
        evaluation.add(truth, masks)
    score = evaluation.score()
    # There is one switch (1 to 2) and one gap, and 11 of 12 regions are found. In the best pairing
    # A is 2 three times and B is 3 six times: 9 matches of 12 true and 11 given, F1 = 2 * 9 / 23.
    assert score[:2] == (1, 1) and score.regions == 11
    assert score.idf1 == pytest.approx(18 / 23)
