"""The DAM server as a process, in its own environment, and a client of it for the tests."""

import base64
import http.client
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
SERVER = ROOT / "deep_perception" / "dam_server"
PYTHON = os.environ.get("DEEP_PERCEPTION_DAM_PYTHON", "")
TOKEN = "a token of the tests"
HEADERS = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
PATIENCE_S = 300
OURS = ("LD_LIBRARY_PATH", "PYTHONPATH", "_ROS_WHEELS_BOOTSTRAP_COMPLETE", "DEEP_PERCEPTION_ENV")
SETTINGS = {
    "host": "127.0.0.1",
    "port": 0,
    "device": "cpu",
    "precision": "fp16",
    "max-batch": 4,
    "max-queue": 6,
    "max-tokens": 12,
    "temperature": 0,
    "top-p": 0.5,
    "num-beams": 1,
    "token-env": "DAM_TEST_TOKEN",
}


def environment(**more):
    """What a process in the DAM environment inherits: nothing of the tests' own one."""
    kept = {name: value for name, value in os.environ.items() if name not in OURS}
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1", **more}


def make_checkpoint(folder, **values):
    subprocess.run(
        [PYTHON, Path(__file__).with_name("dam_checkpoint.py"), folder, json.dumps(values)],
        env=environment(),
        check=True,
        capture_output=True,
        timeout=PATIENCE_S,
    )
    return folder


def bare_package(folder):
    """Only the server's part of the package, in a folder whose other modules must not be found."""
    for name in (SERVER.name, "redaction", "untrusted"):
        shutil.copytree(SERVER.parent / name, folder / "deep_perception" / name)
    for name in ("__init__.py", "_version.py"):
        shutil.copy(SERVER.parent / name, folder / "deep_perception")
    for name in ("aiohttp", "numpy", "torch", "transformers", "pydantic", "cv2"):
        (folder / f"{name}.py").write_text("raise ImportError('of another environment')\n")
    return folder / "deep_perception" / "dam_server" / "__main__.py"


def command(checkpoint, main=SERVER / "__main__.py", extra=(), **changed):
    settings = {**SETTINGS, "checkpoint": checkpoint}
    settings.update({name.replace("_", "-"): value for name, value in changed.items()})
    options = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
    start = ["-m", "deep_perception.dam_server"] if main is None else [str(main)]
    return [PYTHON, *start, *options, *extra]


def run_to_the_end(checkpoint, environ=None, **options):
    """Return (exit status, standard error) of a server that is not expected to stay."""
    done = subprocess.run(
        command(checkpoint, **options),
        env=environ or environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    return done.returncode, done.stderr


def wait_for(condition, what):
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"not seen within {PATIENCE_S} s: {what}")


class Server:
    """A running server; `log` is its standard error."""

    def __init__(self, checkpoint, log, token=TOKEN, **options):
        self.log = log
        self.token = token
        with log.open("w") as errors:
            self.process = subprocess.Popen(
                command(checkpoint, **options),
                env=environment(DAM_TEST_TOKEN=token),
                stdin=subprocess.PIPE,
                stderr=errors,
                stdout=errors,
            )
        self.port = int(wait_for(self._listening, "the port in the log"))

    def _listening(self):
        assert self.process.poll() is None, self.log.read_text()
        found = re.search(r"listening on 127\.0\.0\.1 port (\d+)", self.log.read_text())
        return found and found[1]

    def call(self, method, path, body=None, token=None, connection=None, headers=()):
        """Return (status, JSON, headers)."""
        token = self.token if token is None else token
        connection = connection or self.connect()
        sent = {"Content-Type": "application/json"} | dict(headers)
        sent |= {"Authorization": f"Bearer {token}"} if token else {}
        connection.request(method, path, body, sent)
        answer = connection.getresponse()
        content = json.loads(answer.read())
        connection.close()
        return answer.status, content, answer.headers

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)

    def health(self):
        return self.call("GET", "/health", token="")[1]

    def wait_ready(self):
        wait_for(lambda: self.health()["status"] == "ready", "a ready server")
        return self

    def complete(self, body, path="/v1/chat/completions", **how):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.call("POST", path, data, **how)

    def describe(self, url, **values):
        """Return the choice for one region; anything but 200 is an error."""
        status, content, _ = self.complete(request(url, **values))
        assert status == 200, content
        return content["choices"][0]

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdin.close()

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(timeout=PATIENCE_S)


def together(work, items):
    """Call `work` for all items at once; results in their order."""
    with ThreadPoolExecutor(len(items)) as pool:
        return list(pool.map(work, items))


def rgba(number=0, first_pixel=None, size=(160, 120)):
    """A picture of its own for every number, with a mask."""
    random = np.random.default_rng(number)
    width, height = size
    coarse = random.integers(0, 255, (6, 8, 3), dtype=np.uint8)
    image = np.array(Image.fromarray(coarse).resize(size))
    if first_pixel:
        image[0, 0] = first_pixel
    alpha = np.zeros((height, width), np.uint8)
    x, y = random.integers(0, width // 2), random.integers(0, height // 2)
    # Any alpha above 0 is the mask.
    alpha[y : y + height // 3, x : x + width // 3] = 1
    return Image.fromarray(np.dstack((image, alpha)))


def data_url(image, kind="PNG", mime="image/png"):
    data = io.BytesIO()
    image.save(data, kind)
    return f"data:{mime};base64,{base64.b64encode(data.getvalue()).decode()}"


def request(url, text="Describe it.", **values):
    """A chat request with one picture, or without one for url=None."""
    content = [{"type": "text", "text": text}]
    if url is not None:
        content.append({"type": "image_url", "image_url": {"url": url}})
    return {"model": "any", "messages": [{"role": "user", "content": content}], **values}


BLOCKER = request(data_url(rgba(99)), text="Block.")


def text_of(choice):
    return choice["message"]["content"]


def urls(count, **how):
    return [data_url(rgba(number, **how)) for number in range(count)]


def batches(folder):
    """Return the sizes of all batches so far, and check that each had one prompt."""
    lines = [line.split() for line in (folder / "journal").read_text().splitlines()]
    assert all(prompts == "1" for _, prompts in lines)
    return [int(size) for size, _ in lines]


def block(server, folder):
    """Send a region that stays at the model because of the gate, and wait until it is there."""
    blocker = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, urllib.request as u; r = u.Request(sys.argv[1], sys.stdin.buffer.read(),"
            " {'Authorization': 'Bearer ' + sys.argv[2], 'Content-Type': 'application/json'});"
            " print(u.urlopen(r).status)",
            f"http://127.0.0.1:{server.port}/v1/chat/completions",
            server.token,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    before = len(batches(folder))
    blocker.stdin.write(json.dumps(BLOCKER))
    blocker.stdin.close()
    wait_for(lambda: len(batches(folder)) > before, "the model at work")
    return blocker


def from_a_full_queue(server, folder, asked):
    """Return the answers for regions that all wait behind another one, and their batch sizes."""
    (folder / "gate").touch()
    blocker = block(server, folder)
    before = len(batches(folder))

    def last_opens_the_gate(one):
        if one is None:
            wait_for(lambda: server.health()["queued"] == len(asked), "all in the queue")
            (folder / "gate").unlink()
            return None
        url, values = one
        return server.describe(url, **values)

    answers = together(last_opens_the_gate, [*asked, None])[: len(asked)]
    assert blocker.wait() == 0
    return answers, batches(folder)[before:]
