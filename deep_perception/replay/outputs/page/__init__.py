"""A replay as one HTML file that needs no network: pictures, regions, words, a time line.

Every keyframe is a block of JSON that the page reads when it is looked at, so that a large page
opens at once, and that is written as soon as it is known, so that memory stays flat.
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
from deep_perception.replay.outputs.page.index import Camera, Totals, colour_of
from deep_perception.replay.outputs.page.outlines import canvas_of, path_of, path_of_box

PARTS = Path(__file__).parent / "assets"
# In this order: each uses those before it.
SCRIPTS = ("data", "view", "words", "stage", "timeline", "filter", "main")
# Chromium opens 25 MB from a disk in a second, a phone still does.
MAX_PICTURES, MAX_KEYFRAMES = 150, 5000
PICTURE_SIDE, JPEG_QUALITY = 960, 80
# Different words in a block: read all at once, as what is seen together was described together.
WORDS_A_BLOCK = 256
# Names of the columns of a region in a keyframe's block.
REGION = (
    "index", "label", "track", "words", "status", "area", "score", "first_seen_s", "words_age_s",
    "source", "colour", "path",
)  # fmt: skip


def write_page(
    path: Path,
    *,
    title: str,
    seen: Callable[[], Iterator[SceneRecord]],
    picture: Callable[[SceneRecord], BgrImage | None],
    stop_ns: int | None = None,
    warnings: Sequence[str] = (),
    pictures: int = MAX_PICTURES,
    keyframes: int = MAX_KEYFRAMES,
    picture_side: int = PICTURE_SIDE,
) -> None:
    """Write the page of a replay; the same scenes and pictures give the same bytes.

    ``title``: the name of the recording; ``seen`` opens the scenes, in the order of reading, and is
    called twice; ``picture`` gives the HxWx3 uint8 BGR picture of one of them, None where it
    cannot be read; ``stop_ns`` is when the recording ends, on the clock of ``log_ns``. Of more
    ``keyframes``, and of more ``pictures`` (longest side shrunk to ``picture_side`` pixels), an
    even choice of each camera's is on the page, which says so. Nobody sees half a page. Raises
    OSError, and what ``seen`` and ``picture`` raise.
    """
    totals = Counter(each.topic for each in seen())
    chosen = _spread_over(totals, keyframes)
    writer = _Writer(totals, _spread_over(Counter(_sizes(chosen)), pictures), picture, picture_side)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            head, tail = _frame(title)
            file.write(head)
            read: Counter[str] = Counter()
            for each in seen():
                if read[each.topic] in chosen[each.topic]:
                    writer.write(file, each)
                read[each.topic] += 1
            writer.finish(file, title, warnings, stop_ns)
            file.write(tail)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _sizes(chosen: Mapping[str, set[int]]) -> dict[str, int]:
    return {topic: len(numbers) for topic, numbers in chosen.items()}


def _spread_over(counts: Mapping[str, int], limit: int) -> dict[str, set[int]]:
    """For each camera which of its keyframes, at most ``limit`` in all, first and last among them.

    Each camera gets the same number, and what one has no need of goes to the others.
    """
    chosen = {}
    for place, (topic, count) in enumerate(sorted(counts.items(), key=lambda item: item[1])):
        share = min(count, limit // (len(counts) - place))
        limit -= share
        chosen[topic] = {number * (count - 1) // max(1, share - 1) for number in range(share)}
    return chosen


def _frame(title: str) -> tuple[str, str]:
    """The page before and after its data."""
    template = (PARTS / "page.html").read_text(encoding="utf-8")
    style = (PARTS / "page.css").read_text(encoding="utf-8")
    scripts = "\n".join((PARTS / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
    script = f'"use strict";\n{scripts}'
    # Nothing but these two texts runs or styles, whatever the words of a region say.
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
    """The blocks of one page, in the order of the keyframes, and the index after them."""

    def __init__(
        self,
        totals: Mapping[str, int],
        pictured: Mapping[str, set[int]],
        picture: Callable[[SceneRecord], BgrImage | None],
        side: int,
    ) -> None:
        self._cameras = {topic: Camera(topic, count) for topic, count in totals.items()}
        self._pictured, self._picture, self._side = pictured, picture, side
        self._totals = Totals()
        self._blocks = 0
        self._words = _Words()

    def write(self, file: TextIO, seen: SceneRecord) -> None:
        """Write a keyframe's block, and its picture where it is one of the chosen."""
        camera, scene = self._cameras[seen.topic], seen.scene
        wanted = camera.count in self._pictured[seen.topic]
        numbers = camera.add(seen, self._blocks)
        self._totals.add(seen)
        image = self._picture(seen) if wanted else None
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
                    self._words.number(file, region.description),
                    region.description.status,
                    region.area,
                    round(region.score, 3),
                    camera.since_start(first_seen_ns) if first_seen_ns else None,
                    round((seen.stamp_ns - described_ns) / 1e9, 3) if described_ns else None,
                    region.point.source,
                    colour_of(region),
                    path_of(region.cut(), canvas)
                    if wanted
                    else path_of_box(region.box, scene.size, canvas),
                ]
            )
        content = {
            "stamp_ns": str(seen.stamp_ns),
            "position": seen.position,
            "frame_id": seen.frame_id,
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
        """Write the rest of the words and the index."""
        self._words.flush(file)
        index = {
            "title": title,
            "warnings": list(warnings),
            "columns": REGION,
            "words_a_block": WORDS_A_BLOCK,
            **self._totals.content(),
            "cameras": [camera.content(stop_ns) for camera in self._cameras.values()],
        }
        _block(file, "index", _json(index))


class _Words:
    """The different words of a page, in blocks; only a digest of each stays in memory."""

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}
        self._waiting: list[dict[str, Any]] = []

    def number(self, file: TextIO, words: Description) -> int:
        """The number of a region's words, the same for the same words; -1 without any."""
        if words.status == "pending":
            return -1
        content = {
            "label": words.label,
            "text": words.text,
            "attributes": dict(words.attributes),
            "describer": words.describer,
            "model": words.model,
            "prompt_id": words.prompt_id,
            "truncated": words.truncated,
            "error": words.error,
        }
        key = hashlib.blake2b(_json(content).encode(), digest_size=16).digest()
        if key not in self._numbers:
            self._numbers[key] = len(self._numbers)
            self._waiting.append(content)
            if len(self._waiting) == WORDS_A_BLOCK:
                self.flush(file)
        return self._numbers[key]

    def flush(self, file: TextIO) -> None:
        """Write the words that wait for their block to be full."""
        if self._waiting:
            _block(file, f"w{(len(self._numbers) - 1) // WORDS_A_BLOCK}", _json(self._waiting))
            self._waiting = []


def _jpeg(image: BgrImage) -> str:
    encoded, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not encoded:
        raise OSError(f"a picture of {image.shape} could not be encoded as JPEG")
    return base64.b64encode(data.tobytes()).decode()


def _json(content: Any) -> str:
    """JSON in ASCII that no HTML parser takes for markup."""
    return json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")


def _block(file: TextIO, name: str, content: str) -> None:
    file.write(f'<script type="application/json" id="{name}">{content}</script>\n')
