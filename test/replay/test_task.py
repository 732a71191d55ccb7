"""The inputs of the scenes of a recording: what must be the same to resume a replay."""

import inspect
from types import SimpleNamespace

import pydantic

from deep_perception import settings
from deep_perception.replay.task import Task, scene_inputs
from deep_perception.settings import Settings
from deep_perception.settings.options import flatten, options

# These settings say where a result comes from, how fast, or what is made of it.
NOT_IN_SCENES = {
    "describer.api_key_env", "describer.cache_file", "describer.cache_size",
    "describer.dam.api_key_env", "describer.dam.device", "describer.dam.environment",
    "describer.dam.manage_server", "describer.dam.max_batch", "describer.dam.max_queue",
    "describer.dam.url", "describer.load_model", "describer.load_timeout_s",
    "describer.max_concurrency", "describer.region_timeout_s",
    "describer.ttl_s", "describer.url",
}  # fmt: skip
GROUPS_NOT_IN_SCENES = ("models.", "output.", "ros.")


def test_only_these_settings_do_not_change_scenes():
    unchanged = {option.name for option in options() if not option.changes_scenes}
    others = {name for name in unchanged if not name.startswith(GROUPS_NOT_IN_SCENES)}
    assert others == NOT_IN_SCENES
    assert unchanged - others == {
        option.name for option in options() if option.name.startswith(GROUPS_NOT_IN_SCENES)
    }


def test_a_new_setting_changes_scenes_by_default():
    assert inspect.signature(settings._setting).parameters["changes_scenes"].default is True

    class NewSettings(pydantic.BaseModel):
        new: int = settings._setting(1, "a setting without any flag")

    (option,) = settings.options.leaves(NewSettings())
    assert option.changes_scenes


def test_the_inputs_are_the_settings_that_change_scenes(tmp_path):
    recording = SimpleNamespace(files=(), image_topics={}, start_ns=0, end_ns=1, message_count=0)
    source = SimpleNamespace(recording=recording, topics=["/camera"], start_ns=0, stop_ns=2)
    task = Task(bag=tmp_path / "bag", folder=tmp_path / "out")
    inputs = scene_inputs(task, Settings(), source)
    expected = {option.name for option in options() if option.changes_scenes}
    assert inputs.keys() & flatten(Settings()).keys() == expected
    assert inputs["points.grid_rows"] == "12"
