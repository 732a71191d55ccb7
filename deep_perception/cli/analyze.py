"""Image files in, reports and pictures out; one bad file does not cost the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from tqdm import tqdm

from deep_perception import drawing, images, masks
from deep_perception.analyzer import Analyzer
from deep_perception.images import BgrImage, ImageError
from deep_perception.naming import unique_names
from deep_perception.points import find_contours, propose
from deep_perception.regions import Scene
from deep_perception.reports import write_reports
from deep_perception.settings import Settings


def analyze_files(
    paths: Sequence[Path],
    settings: Settings,
    *,
    say: Callable[[str], None],
    complain: Callable[[str], object],
) -> int:
    """Analyse every file into ``settings.output.folder``; returns how many failed.

    ``say`` gets a line for each file that went well, ``complain`` one for each that did not.
    """
    failed = 0
    folder = Path(settings.output.folder)
    names = unique_names({path: path.stem for path in paths})
    with Analyzer(settings) as analyzer:
        analyzer.models.get_ready(say)
        for path in paths:
            try:
                image = images.load(path)
                scene = _analyze_with_progress(analyzer, image, names[path])
                _write(folder, names[path], path, image, scene, settings)
                line = (
                    f"{path}: {len(scene.regions)} regions, {100 * scene.coverage:.0f} % covered, "
                    f"{scene.timings.total_s:.2f} s -> {folder}/images/"
                    f"{names[path]}_visualization.png"
                )
            except ImageError as error:
                failed += 1
                complain(str(error))
            except OSError as error:
                failed += 1
                complain(f"{path}: the results cannot be written ({error})")
            except Exception as error:  # one picture must not cost the others
                failed += 1
                complain(f"{path}: {type(error).__name__}: {error}")
            else:
                say(line)
                if undescribed := scene.undescribed:
                    complain(f"{path}: {undescribed}")
    return failed


def _write(
    folder: Path, name: str, path: Path, image: BgrImage, scene: Scene, settings: Settings
) -> None:
    write_reports(folder / "texts", name, scene, title=str(path))
    pictures = folder / "images"
    canvas = drawing.for_people(image, settings.output.max_picture_side)
    annotated = drawing.annotate(scene, canvas, label=settings.output.labels)
    images.save_png(pictures / f"{name}_visualization.png", annotated)
    working = images.shrink(image, settings.sweep.max_width, settings.sweep.max_height)
    contours = find_contours(working)
    points = propose(working, settings.points, contours)
    debug = drawing.contours_debug(canvas, contours, points, masks.size_of(working))
    images.save_png(pictures / f"{name}_contours_debug.png", debug)


def _analyze_with_progress(analyzer: Analyzer, image: BgrImage, name: str) -> Scene:
    # disable=None: no bar where the output is not a terminal.
    with tqdm(desc=name, unit="point", leave=False, disable=None) as bar:

        def show(settled: int, proposed: int) -> None:
            bar.total = proposed
            bar.update(settled - bar.n)

        return analyzer.analyze(image, on_progress=show)
