"""One picture in, a scene out, in the picture's own pixel frame; failures are data."""

import numpy as np
import pytest

from deep_perception import masks
from deep_perception.analyzer import Analyzer, Callbacks, Cancelled
from deep_perception.backends import BackendUnavailable
from deep_perception.describers.attributes import Attributes
from deep_perception.regions import Description
from deep_perception.segmenters.superpixels import Superpixels
from deep_perception.settings.options import settings_from


def shapes(scale=1):
    image = np.full((240, 320, 3), (200, 190, 180), np.uint8)
    image[40:120, 40:140] = (30, 30, 200)
    image[140:220, 180:300] = (40, 160, 40)
    return image.repeat(scale, axis=0).repeat(scale, axis=1)


def iou(one, other):
    return (one & other).sum() / (one | other).sum()


@pytest.mark.parametrize("scale", [1, 2, 5])
def test_regions_are_in_the_pixel_frame_of_the_image(scale):
    image = shapes(scale)
    scene = Analyzer().analyze(image)
    assert scene.size == (320 * scale, 240 * scale)
    assert max(scene.working_size) <= 640
    for color in ((30, 30, 200), (40, 160, 40)):
        truth = (image == color).all(axis=-1)
        best = max(scene.regions, key=lambda region: iou(region.source_mask(), truth))
        assert iou(best.source_mask(), truth) > 0.95
        assert truth[best.point.y, best.point.x]
        assert np.abs(np.subtract(best.box, masks.box_of(truth))).max() <= 3 * scale


def test_every_region_is_consistent_and_described():
    scene = Analyzer().analyze(shapes(3))
    assert [region.name for region in scene.regions] == [
        f"D{index}" for index in range(1, len(scene.regions) + 1)
    ]
    for region in scene.regions:
        mask = region.source_mask()
        assert np.array_equal(masks.decode(region.rle), mask)
        assert region.area == mask.sum()
        assert region.box == masks.box_of(mask)
        assert mask[region.point.y, region.point.x]
        assert 0 <= region.score <= 1
        assert region.description.status == "described"
        assert region.description.describer == "attributes"
    assert scene.complete
    assert scene.coverage > 0.9


def test_regions_are_handed_over_as_they_are_described():
    seen = []
    scene = Analyzer().analyze(shapes(), callbacks=Callbacks(on_region=seen.append))
    assert sorted(region.index for region in seen) == [r.index for r in scene.regions]
    assert all(region.description.status == "described" for region in seen)


def test_progress_ends_at_the_number_of_points():
    steps = []
    Analyzer().analyze(shapes(), callbacks=Callbacks(on_progress=lambda *step: steps.append(step)))
    assert steps == sorted(steps)
    assert steps[-1][0] == steps[-1][1] > 100


class HalfBroken(Attributes):
    """Describes one region and then loses its connection."""

    name = "half-broken"

    def describe(self, image, regions):
        yield next(super().describe(image, regions))
        raise ConnectionError("the server went away")


class Forgetful(Attributes):
    """Leaves one region out and fails another."""

    def describe(self, image, regions):
        first, *rest = super().describe(image, regions)
        failed = Description(status="failed", error="too dark")
        yield first[0], failed
        yield from rest[1:]


@pytest.mark.parametrize(
    ("describer", "described", "error"),
    [
        (HalfBroken, 1, "ConnectionError: the server went away"),
        (Forgetful, None, "the describer returned no description of this region"),
    ],
)
def test_a_failed_description_keeps_its_region(describer, described, error):
    backend = f"{__name__}:{describer.__name__}"
    seen = []
    with Analyzer(settings_from({"describer.backend": backend})) as analyzer:
        scene = analyzer.analyze(shapes(), callbacks=Callbacks(on_region=seen.append))
    healthy = Analyzer().analyze(shapes())
    assert len(scene.regions) == len(seen) == len(healthy.regions)
    failed = [region for region in scene.regions if region.description.status == "failed"]
    assert error in {region.description.error for region in failed}
    assert all(region.description.text == "" for region in failed)
    if described is not None:
        assert len(scene.regions) - len(failed) == described
    for ours, theirs in zip(scene.regions, healthy.regions, strict=True):
        assert np.array_equal(ours.mask, theirs.mask)


@pytest.mark.parametrize(
    "name", ["sam3", "no.such.module:Class", "math:NoSuchClass", ":X", "failing_import:Class"]
)
def test_a_backend_that_is_missing_falls_back_and_says_so(name, tmp_path, monkeypatch):
    # How a torch and a torchvision that do not match fail.
    (tmp_path / "failing_import.py").write_text("raise RuntimeError('nms does not exist')")
    monkeypatch.syspath_prepend(tmp_path)
    with Analyzer(settings_from({"segmenter.backend": name})) as analyzer:
        scene = analyzer.analyze(shapes())
    assert scene.segmenter == "superpixels"
    (warning,) = scene.warnings
    assert name in warning
    assert "'superpixels' is used instead" in warning


class RunsOut(Superpixels):
    """A segmenter that works for one picture and then runs out of memory in the middle."""

    name = "runs-out"
    chunk_size = 1
    pictures = closed = 0

    def embed(self, image):
        RunsOut.pictures += 1
        return super().embed(image)

    def masks(self, embedding, points):
        if RunsOut.pictures > 1 and points[0, 0] > 100:
            raise BackendUnavailable("segmenter 'runs-out' is out of memory")
        return super().masks(embedding, points)

    def close(self):
        RunsOut.closed += 1


def test_a_segmenter_that_fails_during_an_image_is_replaced():
    healthy = Analyzer().analyze(shapes())
    settings = settings_from({"segmenter.backend": f"{__name__}:RunsOut"})
    seen = []
    with Analyzer(settings) as analyzer:
        assert analyzer.analyze(shapes()).segmenter == "runs-out"
        second = analyzer.analyze(shapes(), callbacks=Callbacks(on_region=seen.append))
        third = analyzer.analyze(shapes())
    assert RunsOut.closed == 1
    for scene in (second, third):
        assert scene.segmenter == "superpixels"
        (warning,) = scene.warnings
        assert warning == "segmenter 'runs-out' is out of memory; 'superpixels' is used instead"
        assert [region.box for region in scene.regions] == [r.box for r in healthy.regions]
    assert len(seen) == len(second.regions)


class Counts(Superpixels):
    """A segmenter on a device with memory of its own."""

    @property
    def statistics(self):
        return {"gpu_memory_mb": 7}


def test_the_statistics_include_those_of_the_segmenter():
    with Analyzer(settings_from({"segmenter.backend": f"{__name__}:Counts"})) as analyzer:
        assert analyzer.models.statistics["gpu_memory_mb"] == 7
    with Analyzer() as analyzer:
        assert "gpu_memory_mb" not in analyzer.models.statistics


class Half:
    """A class without the members of a segmenter."""


class WrongShape(Superpixels):
    def masks(self, embedding, points):
        return np.zeros((len(points), 5, 5), bool), np.zeros(len(points), np.float32)


class Exits(Superpixels):
    def __init__(self):
        raise SystemExit(0)


class Generates(Superpixels):
    def __init__(self):
        raise GeneratorExit


def a_factory(settings):
    raise AssertionError("this is called")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (f"{__name__}:Half", "lacks embed, masks, close"),
        (f"{__name__}:Exits", "cannot start: it ends the process (0)"),
        (f"{__name__}:Generates", "cannot start: GeneratorExit"),
        (f"{__name__}:a_factory", "is a function, expected a class with the methods embed, masks"),
        ("http.server:test", "is a function, expected a class"),
        ("http.server:HTTPServer", "lacks embed, masks"),
        ("subprocess:Popen", "lacks embed, masks, close"),
        ("sys:exit", "is a builtin_function_or_method, expected a class"),
        ("os:abort", "is a builtin_function_or_method, expected a class"),
        ("builtins:exit", "is a Quitter, expected a class"),
        ("ending_import:Class", "cannot be loaded: it ends the process (3)"),
        ("two_lines:Class", r"cannot be loaded: one\ntwo\x1b[31m"),
        ("x" * 200 + ":Class", "(208 characters) cannot be loaded"),
    ],
)
def test_what_is_no_backend_is_named_and_replaced(name, said, tmp_path, monkeypatch):
    (tmp_path / "ending_import.py").write_text("import sys\nsys.exit(3)")
    (tmp_path / "two_lines.py").write_text("raise RuntimeError('one\\ntwo\\x1b[31m')")
    monkeypatch.syspath_prepend(tmp_path)
    with Analyzer(settings_from({"segmenter.backend": name})) as analyzer:
        (warning,) = analyzer.models.warnings
    assert said in warning
    assert warning.endswith("'superpixels' is used instead")
    assert warning.isprintable()


class Interrupted(Superpixels):
    def __init__(self):
        raise KeyboardInterrupt


def test_an_interruption_while_a_backend_is_loaded_is_one():
    with pytest.raises(KeyboardInterrupt):
        Analyzer(settings_from({"segmenter.backend": f"{__name__}:Interrupted"}))


class EndsAtTheEnd(Superpixels):
    def close(self):
        raise SystemExit(3)


def test_a_backend_that_ends_the_process_when_it_is_closed_is_survived(caplog):
    Analyzer(settings_from({"segmenter.backend": f"{__name__}:EndsAtTheEnd"})).close()
    assert "closing superpixels failed: SystemExit: 3" in caplog.text


def test_masks_of_the_wrong_shape_are_refused():
    with (
        Analyzer(settings_from({"segmenter.backend": f"{__name__}:WrongShape"})) as analyzer,
        pytest.raises(ValueError, match=r"returned masks of shape \(16, 5, 5\), expected"),
    ):
        analyzer.analyze(shapes())


def test_without_a_fallback_a_missing_backend_is_an_error():
    settings = settings_from({"describer.backend": "oracle", "describer.fallback": ""})
    with pytest.raises(BackendUnavailable, match="'oracle' is not in this version"):
        Analyzer(settings)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((0, 5, 3), np.uint8),
        np.zeros((5, 5), np.uint8),
        np.zeros((5, 5, 4), np.uint8),
        np.zeros((5, 5, 3), np.float32),
    ],
)
def test_other_arrays_are_refused(image):
    with pytest.raises(ValueError, match="expected an image of HxWx3 uint8 BGR pixels"):
        Analyzer().analyze(image)


def test_a_callback_that_raises_is_not_taken_for_a_failing_describer():
    def callback(region):
        raise KeyError("user")

    with pytest.raises(KeyError, match="user"):
        Analyzer().analyze(shapes(), callbacks=Callbacks(on_region=callback))


@pytest.mark.parametrize("asked", [1, 4])
def test_an_analysis_can_be_cancelled_between_regions(asked):
    answers = iter([False] * asked + [True] * 1000)
    with pytest.raises(Cancelled):
        Analyzer().analyze(shapes(), callbacks=Callbacks(is_cancelled=lambda: next(answers)))


def test_a_deadline_counts_from_the_start_of_the_analysis():
    scene = Analyzer(settings_from({"sweep.deadline_s": 1e-6})).analyze(shapes())
    assert scene.regions == ()
    assert len(scene.skipped_points) == scene.proposed_points
    assert not scene.complete


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (9, 9)])
def test_tiny_images_give_a_scene(shape):
    scene = Analyzer(settings_from({"sweep.min_mask_area": 1})).analyze(
        np.full((*shape, 3), 70, np.uint8)
    )
    assert scene.size == (shape[1], shape[0])
    assert scene.coverage == 1.0


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"status": "described", "label": "cup"}, "needs a label and a text"),
        ({"status": "failed"}, "with error ''"),
        ({"status": "described", "label": "a", "text": "b", "error": "c"}, "with error 'c'"),
    ],
)
def test_a_description_has_a_text_or_an_error_but_not_both(change, error):
    with pytest.raises(ValueError, match=error):
        Description(**change)
