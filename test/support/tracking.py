"""Tracking of a scene with known regions: helpers of the tests of the tracker."""

import dataclasses
import functools

from deep_perception.regions import Description
from deep_perception.settings import IdentitySettings
from deep_perception.stamps import NANOSECONDS
from synthetic.moving_scenes import Noise, Script, frames
from synthetic.tracking_scripts import crossing, resting_objects

SETTINGS = IdentitySettings()
# A segmenter that finds exactly the true regions.
EXACT = Noise(bend_px=0.0, merged=0.0, split=0.0, missed=0.0)


def description(text="a thing", describer="chat"):
    return Description(status="described", label="thing", text=text, describer=describer)


def at_stamp(seconds):
    return round(seconds * NANOSECONDS)


@functools.cache
def scene():
    """An image of six objects on a photograph, and its true regions."""
    (frame,) = frames(Script(frames=1, objects=resting_objects(), noise=EXACT))
    return frame.image, tuple(frame.regions)


@functools.cache
def moving_frames():
    """Five frames in which an object crosses the view."""
    return tuple(frames(dataclasses.replace(crossing(0), frames=5)))


def update(tracker, regions, seconds, image=None, **changes):
    """Track regions at a stamp; ``changes`` are settings."""
    return tracker.update(
        list(regions),
        scene()[0] if image is None else image,
        at_stamp(seconds),
        IdentitySettings(**changes),
    )


def describe(tracker, regions, stamp_ns, text="a thing", **more):
    """Describe all pending regions; returns all regions as they are published."""
    return [
        tracker.store_description(
            region.described(description(f"{text} {region.track_id}", **more)), stamp_ns
        )
        if region.description.status == "pending"
        else region
        for region in regions
    ]


def ids(regions):
    return [region.track_id for region in regions]


def statuses(regions):
    return {region.description.status for region in regions}
