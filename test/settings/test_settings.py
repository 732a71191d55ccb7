"""The settings: valid and invalid values, YAML, and that generated files are up to date."""

import re
from pathlib import Path

import pydantic
import pytest
import yaml

from deep_perception.settings import Settings, _setting, _text
from deep_perception.settings.options import (
    SettingsError,
    flatten,
    leaves,
    options,
    settings_from,
)
from deep_perception.settings.yaml_text import LARGEST, load_yaml, to_markdown, to_ros_yaml

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("name", "default"),
    [
        # These were the constants of the scripts that preceded the package.
        ("sweep.max_width", 640),
        ("sweep.max_height", 480),
        ("points.grid_columns", 14),
        ("points.grid_rows", 12),
        ("sweep.min_mask_area", 50),
        ("points.max_contour_points", 500),
        ("sweep.overlap", "allow"),
    ],
)
def test_defaults_are_those_of_the_original_scripts(name, default):
    assert flatten(Settings())[name] == default


def test_every_option_has_a_help_text_and_valid_values():
    for option in options():
        assert option.help, option.name
        assert option.expected, option.name
        assert option.kind in (bool, int, float, str), option.name


def test_other_settings_keep_their_values():
    base = settings_from({"points.grid_rows": 3})
    changed = settings_from({"sweep.overlap": "trim"}, base)
    assert (changed.points.grid_rows, changed.sweep.overlap) == (3, "trim")
    assert base.sweep.overlap == "allow"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        # Below and above the range.
        ({"points.grid_rows": 0}, r"points.grid_rows: 0 is not allowed; .* from 1 to 200"),
        ({"output.jpeg_quality": 101}, r"output.jpeg_quality: 101 .* from 1 to 100"),
        # Another type, also if Python would convert it.
        ({"points.grid_rows": "3"}, r"'3' is not allowed; expected a whole number"),
        ({"points.grid_rows": 3.7}, r"3.7 is not allowed"),
        ({"points.grid_rows": True}, r"True is not allowed"),
        ({"points.inside": 1}, r"1 is not allowed; expected true or false"),
        ({"sweep.min_score": float("nan")}, r"nan is not allowed"),
        # Not one of the choices.
        ({"sweep.overlap": "clip"}, r"'clip' is not allowed; expected one of allow, trim, skip"),
        # Misspelt names.
        ({"points.grid_row": 3}, r"there is no such setting; did you mean points.grid_rows\?"),
        ({"grid_rows": 3}, r"grid_rows: there is no such setting"),
    ],
)
def test_errors_name_the_value_and_the_valid_ones(changes, message):
    with pytest.raises(SettingsError, match=message):
        settings_from(changes)


def test_a_whole_number_is_valid_for_a_float():
    assert settings_from({"sweep.deadline_s": 2}).sweep.deadline_s == 2.0


@pytest.mark.parametrize(
    "text",
    [
        # Nested, dotted, a ROS parameter file with a wildcard, and one with a node name.
        "points: {grid_rows: 5}",
        "points.grid_rows: 5",
        "/**: {ros__parameters: {points: {grid_rows: 5}}}",
        "/ns/analyzer: {ros__parameters: {points.grid_rows: 5, use_sim_time: true}}",
        # The block of the analyzer in a file of several nodes.
        "usb_cam: {ros__parameters: {fps: 30}}\n/ns: {analyzer: {ros__parameters: "
        "{points: {grid_rows: 5}}}}",
    ],
)
def test_all_forms_of_yaml_are_read(text):
    assert load_yaml(text) == {"points.grid_rows": 5}


@pytest.mark.parametrize(
    "text",
    ["", "analyzer: {ros__parameters: }", "/**: {ros__parameters: {robot_name: r2}}"],
)
def test_yaml_without_settings_of_the_analyzer_changes_nothing(text):
    assert load_yaml(text) == {}


def block(node, **values):
    return yaml.safe_dump({node: {"ros__parameters": values}})


ROWS = "points.grid_rows"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (block("/**", a=1) + block("analyzer"), {}),
        (block("/**", **{ROWS: 5, "points.inside": True}) + block("analyzer", **{ROWS: 7}),
         {ROWS: 7, "points.inside": True}),
        # The specific one is the last, wherever it stands.
        (block("/analyzer", **{ROWS: 7}) + block("/**", **{ROWS: 5}), {ROWS: 7}),
        (block("/**/analyzer", **{ROWS: 6}) + block("/*", **{ROWS: 5}) + block("/**", **{ROWS: 4}),
         {ROWS: 6}),
        (block("/*", **{ROWS: 5}) + block("camera", fps=30), {ROWS: 5}),
        ("/**: {analyzer: {ros__parameters: {points: {grid_rows: 5}}}}", {ROWS: 5}),
        ("robot: {left: {analyzer: {ros__parameters: {points: {grid_rows: 5}}}}}", {ROWS: 5}),
        (block("/robot/**", **{ROWS: 5}) + block("/robot/analyzer", **{"sweep.max_regions": 2}),
         {ROWS: 5, "sweep.max_regions": 2}),
        (block("/*/analyzer", **{ROWS: 5}), {ROWS: 5}),
        # That of another robot does not apply to the node without a namespace.
        (block("/robot/analyzer", **{ROWS: 5}) + block("/analyzer", **{ROWS: 7}), {ROWS: 7}),
        (2 * block("analyzer", **{ROWS: 5}), {ROWS: 5}),
        (block("analyzer", **{ROWS: 5}) + block("analyzer", **{"sweep.min_score": 0.5}),
         {ROWS: 5, "sweep.min_score": 0.5}),
        # What `ros2 param dump` writes, and what other nodes of the file share.
        (block("/analyzer", **{ROWS: 5, "start_type_description_service": True,
               "qos_overrides": {"/parameter_events": {"publisher": {"depth": 1000}}}}), {ROWS: 5}),
        (block("/**", **{ROWS: 5, "robot_name": "r2", "use_sim_time": False}), {ROWS: 5}),
        ("sweep.min_score: 5e-1", {"sweep.min_score": 0.5}),
    ],
)  # fmt: skip
def test_all_blocks_of_the_analyzer_apply_and_the_specific_one_last(text, expected):
    assert load_yaml(text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (block("camera", fps=30) + block("/ns/lidar", rate=5), "/camera, /ns/lidar; expected"),
        (block("eyes", **{ROWS: 5}), "/eyes; expected a block of analyzer or /**"),
        (block("/front/analyzer", **{ROWS: 5}) + block("/rear/analyzer", **{ROWS: 7}),
         "2 analyzers (/front/analyzer, /rear/analyzer)"),
        (block("/**", **{ROWS: 5}) + "sweep: {max_regions: 3}", "sweep.max_regions is in no"),
        ("analyzer: {ros__parameters: 3}", "expected a mapping"),
        ("? [a]\n: b", "not valid YAML"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_for_the_analyzer_names_what_it_holds(text, said):
    with pytest.raises(SettingsError, match=re.escape(said)):
        load_yaml(text)


def test_a_misspelt_setting_for_all_nodes_is_not_ignored():
    with pytest.raises(SettingsError, match=r"did you mean sweep\.max_regions"):
        settings_from(load_yaml(block("/**", **{"sweep.max_region": 3})))


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "just words"])
def test_invalid_yaml_is_refused(text):
    with pytest.raises(SettingsError):
        load_yaml(text)


DOUBLING = "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))
MERGING = "".join(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 40))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a0: &a0 [x]\n" + DOUBLING, "a name stands for a mapping or a list; write it out"),
        ("a0: &a0 {x: 1}\n" + MERGING, "a name stands for a mapping or a list; write it out"),
        ("a: &a {b: *a}", "a name stands for a mapping or a list; write it out"),
        ("a: " + "[" * 5000, "more than 40 levels"),
        ("{a: " * 5000, "more than 40 levels"),
        ("#" * (LARGEST + 1), f"more than {LARGEST} characters"),
        ("a: !!python/object/apply:os.system [id]", "could not determine a constructor"),
        ("a: !!python/name:os.system", "could not determine a constructor"),
        ("points.grid_rows: !!binary aGk=", "b'hi' is not allowed"),
        ("a: 2001-99-99", "month must be in 1..12"),
        ("a: !!int x", "not valid YAML"),
        ("a: !!bool x", "not valid YAML"),
        ("a: !!timestamp x", "not valid YAML"),
        ("a: " + ":".join(["1"] * 3000) + ".0", "not valid YAML"),
        ("points.grid_rows: 0x" + "f" * 20000, "a number has more than 400 characters"),
        ("? 1" + ":59" * 80000 + "\n: 1", "a number has more than 400 characters"),
        ("points.grid_rows: 0x" + "f" * 300, "characters) is not allowed"),
        ('"\\x1b[31m": 1', r"\x1b[31m: there is no such setting"),
        (f"sweep.overlap: {'x' * 999}", "characters) is not allowed; expected one of allow"),
        ("/" + "a" * 300 + ": {ros__parameters: {}}", "is no name of a node"),
    ],
)  # fmt: skip
def test_a_hostile_file_is_refused_in_a_line(text, said):
    with pytest.raises(SettingsError) as caught:
        settings_from(load_yaml(text))
    assert said in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 5000


def test_a_name_may_repeat_a_value_and_many_wildcards_are_compared_at_once():
    text = "points: {grid_rows: &n 5, grid_columns: *n}"
    assert load_yaml(text) == {"points.grid_rows": 5, "points.grid_columns": 5}
    patterns = "".join(block("/" + "**/*/" * n + "x", **{ROWS: 7}) for n in range(20, 25))
    assert load_yaml(patterns + block("/" + "a/" * 50 + "analyzer", **{ROWS: 5})) == {ROWS: 5}


# -- what a service of a running node may change -------------------------------------------------

# Every text without choices is classified by whoever adds it. A text that only is shown may be
# False; one that names code, a file, an address, a variable, a model or a topic is trusted.
CLASSIFIED = {
    "segmenter.backend": True, "segmenter.fallback": True, "segmenter.checkpoint": True,
    "segmenter.config": True, "segmenter.device": True, "describer.backend": True,
    "describer.fallback": True, "describer.cache_file": True, "describer.url": True,
    "describer.model": True, "describer.api_key_env": True, "describer.prompt": True,
    "describer.dam.url": True, "describer.dam.environment": True,
    "describer.dam.checkpoint": True, "describer.dam.api_key_env": True, "output.folder": True,
    "ros.cameras": True,
}  # fmt: skip
# These are no texts, and decide what is started, loaded or sent all the same.
TRUSTED_CHOICES = {
    "describer.load_model", "describer.picture_mode", "describer.scene_picture",
    "describer.dam.manage_server", "describer.dam.device", "models.idle_unload_s", "ros.autostart",
    "ros.remote_control",
}  # fmt: skip


def test_every_text_is_classified():
    texts = {o.name: o.trusted for o in options() if o.kind is str and not o.choices}
    assert texts == CLASSIFIED
    trusted = {option.name for option in options() if option.trusted}
    assert trusted - set(texts) == TRUSTED_CHOICES
    assert all(option.read_only for option in options() if option.trusted)


def test_a_new_text_has_to_be_classified():
    class Group(pydantic.BaseModel):
        name: str = _setting("x", "name of something")

    with pytest.raises(TypeError, match=r"new\.name: text must be declared as trusted or not"):
        list(leaves(Group(), "new."))
    with pytest.raises(TypeError, match="trusted"):
        _text("x", "name of something")

    class Classified(pydantic.BaseModel):
        name: str = _text("x", "name of something", trusted=False)

    assert [option.trusted for option in leaves(Classified())] == [False]


def test_the_range_of_services_is_a_part_of_the_range_and_contains_the_default():
    limited = [option for option in options() if option.of_services and not option.trusted]
    assert {"points.grid_rows", "sweep.max_width", "keyframes.min_interval_s"} <= {
        option.name for option in limited
    }
    for option in limited:
        assert option.at_least <= option.live_at_least <= option.default, option.name
        assert option.default <= option.live_at_most <= option.at_most, option.name


def test_the_parameter_file_is_up_to_date_and_has_the_defaults():
    text = (ROOT / "config" / "analyzer.yaml").read_text(encoding="utf-8")
    assert text == to_ros_yaml(), "run: python tools/generate_docs.py"
    assert settings_from(load_yaml(text)) == Settings()
    assert yaml.safe_load(text)["/**"]["ros__parameters"]["points"]["grid_rows"] == 12


def test_the_parameter_page_has_every_row_that_the_code_would_write():
    page = (ROOT / "docs" / "parameters.md").read_text(encoding="utf-8")
    head, rule, *rows = to_markdown().splitlines()
    assert len(rows) == len(options())
    assert f"{head}\n{rule}\n" in page
    written = [line for line in page.splitlines() if line.startswith("| `")]
    assert written == rows, "run: python tools/generate_docs.py"
