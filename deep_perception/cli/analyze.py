"""``deep_perception analyze``: image files in, reports and annotated images out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from tqdm import tqdm

from deep_perception import drawing, images
from deep_perception.analyzer import Analyzer, Callbacks
from deep_perception.images import ImageError, LoadedImage
from deep_perception.images.files import STANDARD_INPUT
from deep_perception.images.folders import expand
from deep_perception.regions import Scene
from deep_perception.reports import write_reports
from deep_perception.reports.naming import unique_names
from deep_perception.settings import OutputSettings, Settings
from deep_perception.untrusted.text import printable


def analyze_files(
    paths: Sequence[Path],
    settings: Settings,
    *,
    info: Callable[[str], None],
    error: Callable[[str], object],
) -> int:
    """Analyse every file into ``settings.output.folder``, and return how many failed.

    A folder stands for the images in it, and ``-`` for standard input. ``info`` gets one line for
    each file that was analysed, ``error`` one for each fault. A file that fails does not stop the
    others.
    """
    folder = Path(settings.output.folder)
    paths, problems = expand(paths)
    for problem in problems:
        error(str(problem))
    failed = len(problems)
    if not paths:
        return failed
    names = unique_names({path: _stem(path) for path in paths})
    with Analyzer(settings) as analyzer:
        analyzer.models.get_ready(info)
        for path in paths:
            try:
                loaded = images.read(path)
                scene = _analyze_with_progress(analyzer, loaded, names[path])
                _write(folder, names[path], path, loaded, scene, settings.output)
            except ImageError as problem:
                failed += 1
                error(str(problem))
            except OSError as problem:
                failed += 1
                error(f"{path}: the results cannot be written ({problem})")
            except Exception as problem:
                failed += 1
                error(f"{path}: {type(problem).__name__}: {problem}")
            else:
                info(
                    f"{path}: {len(scene.regions)} regions, {100 * scene.coverage:.0f} % covered, "
                    f"{scene.timings.total_s:.2f} s -> {folder}/images/"
                    f"{names[path]}_visualization.png"
                )
                if undescribed := scene.undescribed:
                    error(f"{path}: {undescribed}")
    return failed


def _write(
    folder: Path, name: str, path: Path, loaded: LoadedImage, scene: Scene, settings: OutputSettings
) -> None:
    write_reports(
        folder / "texts", name, scene, title=str(path), exif_orientation=loaded.exif_orientation
    )
    canvas = drawing.for_people(loaded.pixels, settings.max_picture_side)
    annotated = drawing.annotate(scene, canvas, label=settings.labels, opacity=settings.opacity)
    images.save_png(folder / "images" / f"{name}_visualization.png", annotated)
    debug = drawing.contours_debug(canvas, scene.contours, scene.points, scene.working_size)
    images.save_png(folder / "images" / f"{name}_contours_debug.png", debug)


def _stem(path: Path) -> str:
    return "stdin" if path == STANDARD_INPUT else path.stem


def _analyze_with_progress(analyzer: Analyzer, loaded: LoadedImage, name: str) -> Scene:
    # disable=None: no bar where the output is not a terminal.
    with tqdm(desc=printable(name), unit="point", leave=False, disable=None) as bar:

        def show(settled: int, proposed: int) -> None:
            bar.total = proposed
            bar.update(settled - bar.n)

        scene = analyzer.analyze(loaded.pixels, callbacks=Callbacks(on_progress=show))
    return dataclasses.replace(scene, intensity_range=loaded.intensity_range)
