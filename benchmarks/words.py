"""What the benchmarks of descriptions share: a chat server in a process of its own, and regions.

``python -m benchmarks.words SLOTS SECONDS`` starts the server, which prints its port and answers
SLOTS requests at once, each after SECONDS.
"""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import openai
from numpy.typing import NDArray
from PIL import Image

from benchmarks.harness import Measurement, turn_by_turn
from deep_perception import masks
from deep_perception.analyzer import Analyzer
from deep_perception.describers.chat import region_images
from deep_perception.images import BgrImage
from deep_perception.masks import Size
from deep_perception.regions import Region
from deep_perception.settings import DescriberSettings, Settings
from deep_perception.settings.options import settings_from
from synthetic.photographs import photograph

ANSWER_S, MODEL = 0.2, "bench-vl"
REGIONS, RUNS, SAMPLE = 24, 5, 4
COLUMNS, ROWS = 6, 4
WORDS = {"label": "red cup", "caption": "A red cup with a white rim."}


class Tiles:
    """A segmenter that takes no time: a rectangle around each point of a COLUMNS x ROWS grid."""

    name, model, chunk_size = "tiles", "", 8

    def embed(self, image: BgrImage) -> Size:
        return masks.size_of(image)

    def masks(
        self, size: Size, points: NDArray[np.int64]
    ) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        found = np.zeros((len(points), size.height, size.width), np.bool_)
        half_x, half_y = size.width // (2 * COLUMNS + 2) - 4, size.height // (2 * ROWS + 2) - 4
        for mask, (x, y) in zip(found, points, strict=True):
            mask[y - half_y : y + half_y, x - half_x : x + half_x] = True
        return found, np.ones(len(points), np.float32)

    def close(self) -> None:
        pass


def settings(url: str, **changes: object) -> Settings:
    """Return settings for the chat server without a cache of descriptions."""
    return settings_from(
        {"describer.backend": "chat", "describer.fallback": "", "describer.url": url,
         "describer.cache_size": 0, **changes}
    )  # fmt: skip


def at_once(slots: int) -> Measurement:
    """Measure the seconds from a 640x480 image to a scene of 24 described regions.

    The baseline sends the same images of the same regions to the same server, one region after the
    other, with openai's plain client.
    """
    image = photograph(640, 480)
    grid = {
        "points.sources": "grid", "points.grid_columns": COLUMNS, "points.grid_rows": ROWS,
        "segmenter.backend": "benchmarks.words:Tiles",
    }  # fmt: skip
    with chat_server(slots) as url, Analyzer(settings(url, **grid)) as analyzer:
        regions = _described(analyzer, image)
        client = openai.OpenAI(base_url=url, api_key="none", max_retries=0)
        ours, baseline = turn_by_turn(
            lambda: _described(analyzer, image),
            lambda: [ask(client, image, region) for region in regions],
            runs=RUNS,
        )
        client.close()
    return {
        "name": f"words_{slots}_slots",
        "value": ours,
        "unit": "s",
        "baseline": baseline,
        "ours": ours,
        "runs": RUNS,
    }


def _described(analyzer: Analyzer, image: BgrImage) -> Sequence[Region]:
    regions = analyzer.analyze(image).regions
    described = sum(region.description.status == "described" for region in regions)
    if described != REGIONS:
        raise AssertionError(f"{described} of {REGIONS} regions described")
    return regions


def picture_cpu_ms(name: str, width: int, height: int) -> Measurement:
    """Measure the CPU milliseconds a region for the image in its request, from mask to base64.

    The baseline is that of the original: the whole frame with the mask as its alpha channel, as a
    PNG by Pillow. Both use every SAMPLE-th region, as the baseline takes half a minute a frame.
    """
    image = photograph(width, height)
    with Analyzer() as analyzer:
        regions = analyzer.analyze(image).regions
    some, mode = regions[::SAMPLE], DescriberSettings().picture_mode

    def ours() -> None:
        for region in some:
            region_images.to_data_url(region_images.compose(image, region, mode))

    def baseline() -> None:
        for region in some:
            _png_with_transparency(image, region)

    seconds, naive = turn_by_turn(ours, baseline, runs=RUNS, clock=time.process_time)
    return {
        "name": name,
        "value": 1000 * seconds / len(some),
        "unit": "ms of CPU",
        "baseline": 1000 * naive / len(some),
        "ours": 1000 * seconds / len(some),
        "runs": RUNS,
    }


def _png_with_transparency(image: BgrImage, region: Region) -> str:
    alpha = region.source_mask().astype(np.uint8) * 255
    file = io.BytesIO()
    Image.fromarray(np.dstack([image[..., ::-1], alpha])).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def ask(client: Any, image: BgrImage, region: Region) -> str:
    """Return the description of one region as the loop of the baseline requests it."""
    url = region_images.to_data_url(
        region_images.compose(image, region, DescriberSettings().picture_mode)
    )
    answer = client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": [
            {"type": "text", "text": "Describe the outlined object."},
            {"type": "image_url", "image_url": {"url": url}},
        ]}],
        max_tokens=400,
    )  # fmt: skip
    return str(answer.choices[0].message.content)


@contextmanager
def chat_server(slots: int, answer_s: float = ANSWER_S) -> Iterator[str]:
    """Run a server in a process of its own, and yield its address."""
    command = [sys.executable, "-m", "benchmarks.words", str(slots), str(answer_s)]
    folder = Path(__file__).parents[1]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
        finally:
            process.kill()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    slots: threading.Semaphore
    parallel = 0
    answer_s = ANSWER_S

    def do_GET(self) -> None:
        instances = [{"id": MODEL, "config": {"parallel": self.parallel}}]
        abilities = {"vision": True}
        self._reply({"models": [{"type": "llm", "key": MODEL, "capabilities": abilities,
                                 "loaded_instances": instances}]})  # fmt: skip

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        with self.slots:
            time.sleep(self.answer_s)
        message = {"role": "assistant", "content": json.dumps(WORDS)}
        self._reply({
            "id": "1", "object": "chat.completion", "created": 1, "model": MODEL,
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        })  # fmt: skip

    def _reply(self, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def _serve(slots: int, answer_s: float) -> None:
    _Handler.slots, _Handler.parallel = threading.Semaphore(slots), slots
    _Handler.answer_s = answer_s
    server = _Server(("127.0.0.1", 0), _Handler)
    sys.stdout.write(f"{server.server_address[1]}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    _serve(int(sys.argv[1]), float(sys.argv[2]))
