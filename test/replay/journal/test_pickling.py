"""Resume points: every class in one is allowed, and nothing else is."""

import io
import pickle
import zlib
from types import SimpleNamespace

import numpy as np
import pytest

from deep_perception.analyzer import Analyzer
from deep_perception.replay.journal import pickling
from deep_perception.replay.recordings.choice import Sampler
from deep_perception.replay.resume_point import ResumePoint
from deep_perception.settings.options import settings_from
from deep_perception.stream import Stream
from support import bags


class Recorder(pickle.Unpickler):
    """Loads anything and notes the module and the name of every class."""

    def __init__(self, data):
        super().__init__(io.BytesIO(zlib.decompress(data)))
        self.found = set()

    def find_class(self, module, name):
        self.found.add((module, name))
        return super().find_class(module, name)


@pytest.fixture(scope="module", params=["area", "novelty"])
def resume_point(request):
    """The state behind several keyframes, with lost tracks and reused descriptions."""
    settings = settings_from(
        {
            "points.order": request.param, "points.grid_columns": 4, "points.grid_rows": 3,
            "describer.backend": "support.describers:Steady", "keyframes.min_interval_s": 0.0,
        }
    )  # fmt: skip
    stream, statuses = Stream(), set()
    with Analyzer(settings) as analyzer:
        for number, image in enumerate(bags.moving_scene(8, cut_every=4)):
            stamp_ns = 1 + number * 500_000_000
            selected = stream.select(stamp_ns, image.copy, settings.keyframes)
            if selected is not None:
                scene = stream.analyze(analyzer, selected, settings)
                statuses |= {region.description.status for region in scene.regions}
    assert statuses == {"described", "reused"}
    stream.decoder.decode(depth_message(1))
    return ResumePoint(
        sampler=Sampler(1, 5.0, 0), streams={"/camera": stream}, keyframes={"/camera": 3},
        regions=9, position=7, log_ns=1,
    )  # fmt: skip


def depth_message(offset):
    """A depth image whose range changes with the offset."""
    depth = (np.linspace(1000, 4000, 80 * 60).reshape(60, 80) + 50 * offset).astype(np.uint16)
    return SimpleNamespace(
        height=60, width=80, encoding="16UC1", is_bigendian=0, step=160, data=depth.tobytes()
    )


def test_a_depth_stream_continues_with_its_range(resume_point):
    streams = [
        resume_point.streams["/camera"],
        pickling.loads(pickling.dumps(resume_point)).streams["/camera"],
    ]
    for offset in range(1, 12):
        one, other = (stream.decoder.decode(depth_message(offset)) for stream in streams)
        assert np.array_equal(one, other)
    ranges = [stream.decoder.intensity_range for stream in streams]
    assert ranges[0] == ranges[1] and ranges[0].high > 4000


def test_every_class_of_a_resume_point_is_allowed(resume_point):
    """A class that moves to another module has to be listed again."""
    data = pickling.dumps(resume_point)
    recorder = Recorder(data)
    recorder.load()
    modules = {module for module, _ in recorder.found if module.startswith("deep_perception.")}
    assert modules - {pickling.__name__} <= pickling.OWN_MODULES
    assert {ResumePoint.__module__, Stream.__module__, Sampler.__module__} <= modules
    others = {item for item in recorder.found if not item[0].startswith("deep_perception.")}
    assert all(name in pickling.OTHER_CLASSES[module] for module, name in others)
    assert isinstance(pickling.loads(data), ResumePoint)


@pytest.mark.parametrize("name", ["Analyzer", "BgrImage", "Path", "missing"])
def test_names_that_an_allowed_module_only_imports_are_refused(name):
    data = zlib.compress(b"\x80\x05cdeep_perception.stream\n" + name.encode() + b"\n.")
    with pytest.raises(pickling.UnreadablePickle, match="is not allowed in a journal"):
        pickling.loads(data)
