"""Bags of replays for tests: how they are written and what is read from them."""

import itertools
from pathlib import Path

from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory

from deep_perception.analyzer import Analyzer
from deep_perception.replay.journal.scenes import SceneRecord, from_line, to_line
from deep_perception.replay.outputs.bag import write_bag
from deep_perception.replay.recordings.bags import Recording
from deep_perception.settings import OutputSettings, Settings
from deep_perception.stream import Stream

ROOT = Path(__file__).resolve().parents[2]
LEFT, RIGHT = "/left/image_raw", "/right/image_rect/compressed"


def look(path, topics=None):
    """The scenes of a recording, as its journal has them."""
    settings = Settings()
    with Recording(path) as recording, Analyzer(settings) as analyzer:
        topics = topics or list(recording.image_topics)
        streams = {topic: Stream() for topic in topics}
        numbers = {topic: itertools.count(1) for topic in topics}
        found = []
        for frame in recording.frames(topics):
            stream = streams[frame.topic]
            selected = stream.select(frame.stamp_ns, frame.image, settings.keyframes)
            if selected is None:
                continue
            scene = stream.analyze(analyzer, selected, settings)
            record = SceneRecord(
                topic=frame.topic, position=frame.position, log_ns=frame.log_ns,
                stamp_ns=frame.stamp_ns, frame_id=frame.frame_id,
                keyframe=next(numbers[frame.topic]), reason=selected.decision.reason, scene=scene,
            )  # fmt: skip
            found.append(from_line(to_line(record)))
        return found


def write(path, folder, records, *, images="all", topics=None, output=None, **limits):
    with Recording(path) as recording:
        write_bag(
            folder, recording, topics or list(recording.image_topics), records, images=images,
            settings=output or OutputSettings(), **limits,
        )  # fmt: skip
    return folder


def decoded(folder):
    """(topic, log time, message) of a bag as Foxglove's own library decodes it."""
    with (folder / "bag.mcap").open("rb") as file:
        reader = make_reader(file, validate_crcs=True, decoder_factories=[DecoderFactory()])
        for found in reader.iter_decoded_messages(log_time_order=False):
            yield found.channel.topic, found.message.log_time, found.decoded_message


def contents(folder):
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*") if file.is_file()
    }  # fmt: skip
