"""A replay as one HTML file that needs no network: images, regions, descriptions, a time line.

Every keyframe is a block of JSON. The page parses it when the keyframe is shown, so that a large
page opens at once; the writer writes it as soon as it is known, so that memory stays constant.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import cv2

from deep_perception import images
from deep_perception.images import BgrImage
from deep_perception.regions import Description
from deep_perception.replay.journal.scenes import SceneRecord
from deep_perception.replay.outputs.page.index import PageCamera, PageTotals, colour_of
from deep_perception.replay.outputs.page.outlines import canvas_of, path_of, path_of_box

ASSETS = Path(__file__).parent / "assets"
# Each script uses those before it.
SCRIPTS = ("data", "view", "words", "stage", "timeline", "filter", "main")
# Chromium opens the resulting 25 MB from a disk in a second, and a phone can open them too.
MAX_IMAGES, MAX_KEYFRAMES = 150, 5000
IMAGE_SIDE, JPEG_QUALITY = 960, 80
# Different descriptions in a block. Regions that are seen together were mostly described together,
# so that the page parses few blocks for a keyframe.
DESCRIPTIONS_PER_BLOCK = 256
# The columns of a region in a keyframe's block.
REGION = (
    "index", "label", "track", "words", "status", "area", "score", "first_seen_s", "words_age_s",
    "source", "colour", "path",
)  # fmt: skip


def write_page(
    path: Path,
    *,
    title: str,
    records: Callable[[], Iterator[SceneRecord]],
    image_of: Callable[[SceneRecord], BgrImage | None],
    stop_ns: int | None = None,
    warnings: Sequence[str] = (),
    max_images: int = MAX_IMAGES,
    max_keyframes: int = MAX_KEYFRAMES,
    image_side: int = IMAGE_SIDE,
) -> None:
    """Write the page of a replay; the same scenes and images give the same bytes.

    ``title`` is the name of the recording. ``records`` opens the scenes, in the order of reading,
    and is called twice. ``image_of`` returns the HxWx3 uint8 BGR image of a scene, None if it
    cannot be decoded. ``stop_ns`` is the end of the recording, on the clock of ``log_ns``. If there
    are more than ``max_keyframes``, or more than ``max_images`` (whose longest side is shrunk to
    ``image_side`` pixels), the page contains an even choice for each camera, and says so. The file
    appears when it is complete. Raises OSError, and what ``records`` and ``image_of`` raise.
    """
    totals = Counter(record.topic for record in records())
    chosen = _spread_over(totals, max_keyframes)
    with_image = _spread_over(
        {topic: len(numbers) for topic, numbers in chosen.items()}, max_images
    )
    writer = _Writer(totals, with_image, image_of, image_side)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            head, tail = _template(title)
            file.write(head)
            read: Counter[str] = Counter()
            for record in records():
                if read[record.topic] in chosen[record.topic]:
                    writer.write(file, record)
                read[record.topic] += 1
            writer.finish(file, title, warnings, stop_ns)
            file.write(tail)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _spread_over(counts: Mapping[str, int], limit: int) -> dict[str, set[int]]:
    """Return for each camera the numbers of an even choice of its keyframes, ``limit`` in total.

    The first and the last keyframe are included. Each camera gets the same number; what a camera
    does not need goes to the others.
    """
    chosen = {}
    for index, (topic, count) in enumerate(sorted(counts.items(), key=lambda item: item[1])):
        share = min(count, limit // (len(counts) - index))
        limit -= share
        chosen[topic] = {number * (count - 1) // max(1, share - 1) for number in range(share)}
    return chosen


def _template(title: str) -> tuple[str, str]:
    """Return the page before and after its data."""
    template = (ASSETS / "page.html").read_text(encoding="utf-8")
    style = (ASSETS / "page.css").read_text(encoding="utf-8")
    scripts = "\n".join((ASSETS / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
    script = f'"use strict";\n{scripts}'
    # The browser runs and applies only these two texts, whatever the description of a region says.
    policy = (
        "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"style-src '{_digest(style)}'; script-src '{_digest(script)}'"
    )
    head, tail = template.split("@DATA@")
    head = head.replace("@POLICY@", policy).replace("@STYLE@", style)
    return head.replace("@TITLE@", html.escape(title)), tail.replace("@SCRIPT@", script)


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


class _Writer:
    """Writes the blocks of one page, in the order of the keyframes, and the index after them."""

    def __init__(
        self,
        totals: Mapping[str, int],
        with_image: Mapping[str, set[int]],
        image_of: Callable[[SceneRecord], BgrImage | None],
        side: int,
    ) -> None:
        self._cameras = {topic: PageCamera(topic, count) for topic, count in totals.items()}
        self._with_image, self._image_of, self._side = with_image, image_of, side
        self._totals = PageTotals()
        self._blocks = 0
        self._descriptions = _Descriptions()

    def write(self, file: TextIO, record: SceneRecord) -> None:
        """Write a keyframe's block, and its image if it is one of the chosen ones."""
        camera, scene = self._cameras[record.topic], record.scene
        wanted = camera.count in self._with_image[record.topic]
        numbers = camera.add(record, self._blocks)
        self._totals.add(record)
        image = self._image_of(record) if wanted else None
        if image is not None:
            _block(file, f"p{self._blocks}", _jpeg(images.shrink(image, self._side, self._side)))
        elif wanted:
            camera.unreadable += 1
        else:
            camera.pictures_left_out += 1
        canvas = canvas_of(scene.size)
        regions = []
        for region, (label, track) in zip(scene.regions, numbers, strict=True):
            first_seen_ns, described_ns = region.first_seen_ns, region.last_described_ns
            regions.append(
                [
                    region.index,
                    label,
                    track,
                    self._descriptions.number(file, region.description),
                    region.description.status,
                    region.area,
                    round(region.score, 3),
                    camera.since_start(first_seen_ns) if first_seen_ns else None,
                    camera.since(described_ns, record.stamp_ns) if described_ns else None,
                    region.point.source,
                    colour_of(region),
                    path_of(region.cut(), canvas)
                    if wanted
                    else path_of_box(region.box, scene.size, canvas),
                ]
            )
        content = {
            "stamp_ns": str(record.stamp_ns),
            "position": record.position,
            "frame_id": record.frame_id,
            "size": list(scene.size),
            "canvas": list(canvas),
            "picture": "yes" if image is not None else "unreadable" if wanted else "left out",
            "coverage": round(scene.coverage, 4),
            "complete": scene.complete,
            "warnings": list(scene.warnings),
            "regions": regions,
        }
        _block(file, f"k{self._blocks}", _json(content))
        self._blocks += 1

    def finish(
        self, file: TextIO, title: str, warnings: Sequence[str], stop_ns: int | None
    ) -> None:
        """Write the remaining descriptions and the index."""
        self._descriptions.flush(file)
        index = {
            "title": title,
            "warnings": list(warnings),
            "columns": REGION,
            "words_a_block": DESCRIPTIONS_PER_BLOCK,
            **self._totals.content(),
            "cameras": [camera.content(stop_ns) for camera in self._cameras.values()],
        }
        _block(file, "index", _json(index))


class _Descriptions:
    """The different descriptions of a page, in blocks; only a digest of each stays in memory."""

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}
        self._waiting: list[dict[str, Any]] = []

    def number(self, file: TextIO, description: Description) -> int:
        """Return the number of a description, the same for equal ones; -1 for a pending one."""
        if description.status == "pending":
            return -1
        content = {
            "label": description.label,
            "text": description.text,
            "attributes": dict(description.attributes),
            "describer": description.describer,
            "model": description.model,
            "prompt_id": description.prompt_id,
            "truncated": description.truncated,
            "error": description.error,
        }
        key = hashlib.blake2b(_json(content).encode(), digest_size=16).digest()
        if key not in self._numbers:
            self._numbers[key] = len(self._numbers)
            self._waiting.append(content)
            if len(self._waiting) == DESCRIPTIONS_PER_BLOCK:
                self.flush(file)
        return self._numbers[key]

    def flush(self, file: TextIO) -> None:
        """Write the descriptions that wait for their block to be full."""
        if self._waiting:
            number = (len(self._numbers) - 1) // DESCRIPTIONS_PER_BLOCK
            _block(file, f"w{number}", _json(self._waiting))
            self._waiting = []


def _jpeg(image: BgrImage) -> str:
    encoded, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not encoded:
        raise OSError(f"an image of shape {image.shape} could not be encoded as JPEG")
    return base64.b64encode(data.tobytes()).decode()


def _json(content: Any) -> str:
    """Return JSON in ASCII that no HTML parser takes for markup."""
    return json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")


def _block(file: TextIO, name: str, content: str) -> None:
    file.write(f'<script type="application/json" id="{name}">{content}</script>\n')
