"""The DAM server: real processes in the environment of requirements/dam.txt, over real HTTP.

The model is tiny and random. Its code is in dam_remote_code.py, and it is loaded like DAM.
"""

import base64
import hashlib
import json
import os
import signal
import struct
import subprocess
import sys
import time
import zlib

import pytest
from PIL import Image

from support.dam_server_process import (
    PYTHON,
    ROOT,
    SERVER,
    TOKEN,
    Server,
    bare_package,
    command,
    data_url,
    environment,
    make_checkpoint,
    request,
    rgba,
    run_to_the_end,
    together,
    wait_for,
)

pytestmark = pytest.mark.dam

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
BLOCKER = request(data_url(rgba(99)), text="Block.")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("dam")


@pytest.fixture(scope="module")
def checkpoint(folder):
    """A checkpoint whose model logs its batches, and waits while the file `gate` exists."""
    names = {name: str(folder / name) for name in ("journal", "gate", "load_gate")}
    return make_checkpoint(folder / "DAM-3B-Self-Contained", **names)


@pytest.fixture(scope="module")
def server(checkpoint, folder):
    server = Server(checkpoint, folder / "log", main=bare_package(folder / "site-packages"))
    yield server.wait_ready()
    server.kill()


@pytest.fixture
def gate(folder):
    """A file: while it exists, the model does not finish its batch."""
    path = folder / "gate"
    path.touch()
    yield path
    path.unlink(missing_ok=True)


@pytest.fixture
def load_gate(folder):
    path = folder / "load_gate"
    path.touch()
    yield path
    path.unlink(missing_ok=True)


@pytest.fixture
def start(checkpoint, tmp_path):
    started = []

    def start_one(**options):
        started.append(Server(checkpoint, tmp_path / f"log{len(started)}", **options))
        return started[-1]

    yield start_one
    for one in started:
        one.kill()


def batches(folder):
    """Return the sizes of all batches so far, and check that each had one prompt."""
    lines = [line.split() for line in (folder / "journal").read_text().splitlines()]
    assert all(prompts == "1" for _, prompts in lines)
    return [int(size) for size, _ in lines]


def text_of(choice):
    return choice["message"]["content"]


def urls(count, **how):
    return [data_url(rgba(number, **how)) for number in range(count)]


def block(server, folder):
    """Send a region that stays at the model because of the gate, and wait until it is there."""
    blocker = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, urllib.request as u; r = u.Request(sys.argv[1], sys.stdin.buffer.read(),"
            " {'Authorization': 'Bearer ' + sys.argv[2]}); print(u.urlopen(r).status)",
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


# -- answers -----------------------------------------------------------------------------------


def test_an_answer_is_a_chat_completion(server):
    status, answer, _ = server.complete(request(urls(1)[0]))
    assert status == 200
    assert answer["object"] == "chat.completion"
    assert answer["model"] == "describe_anything_model"
    assert answer["id"]
    assert abs(answer["created"] - time.time()) < 86400
    (choice,) = answer["choices"]
    assert choice["message"]["role"] == "assistant"
    assert isinstance(text_of(choice), str)
    assert text_of(choice)
    usage = answer["usage"]
    # The image has 16 tokens.
    assert usage["prompt_tokens"] > 16
    assert 1 <= usage["completion_tokens"] <= 12
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_nvidias_path_gives_the_same_answer(server):
    body = request(urls(1)[0], model="describe_anything_model")
    old = server.complete(body, path="/chat/completions")
    new = server.complete(body)
    assert old[0] == new[0] == 200
    assert text_of(old[1]["choices"][0]) == text_of(new[1]["choices"][0])


def test_descriptions_differ_and_are_the_same_alone_and_in_a_batch(server, folder):
    pictures = urls(8)
    alone = [text_of(server.describe(url)) for url in pictures]
    assert len(set(alone)) == 8
    answers, sizes = from_a_full_queue(server, folder, [(url, {}) for url in pictures[:6]])
    assert [text_of(answer) for answer in answers] == alone[:6]
    assert sizes == [4, 2]


def test_different_prompts_and_sampling_need_different_batches(server, folder):
    asked = [
        {},
        {"text": "What is it?"},
        {"max_tokens": 3},
        {"seed": 1},  # Greedy decoding ignores it.
        {"top_p": 0.9},  # Greedy decoding ignores it.
    ]
    url = data_url(rgba(5))
    answers, sizes = from_a_full_queue(server, folder, [(url, values) for values in asked])
    assert sorted(sizes) == [1, 1, 3]
    assert text_of(answers[0]) == text_of(answers[3]) == text_of(answers[4])


def test_the_finish_reason(server):
    for limit in (3, 40):
        seen = set()
        for url in urls(8):
            _, answer, _ = server.complete(request(url, max_tokens=limit))
            reason = answer["choices"][0]["finish_reason"]
            tokens = answer["usage"]["completion_tokens"]
            assert tokens == limit if reason == "length" else tokens <= limit
            seen.add(reason)
        assert ("length" if limit == 3 else "stop") in seen


def test_sampling_parameters_are_honoured(server):
    url = data_url(rgba(3))
    warm = {"temperature": 2, "top_p": 1, "max_tokens": 30}
    greedy = text_of(server.describe(url, max_tokens=30))
    assert text_of(server.describe(url, max_completion_tokens=30)) == greedy
    first = text_of(server.describe(url, seed=1, **warm))
    assert text_of(server.describe(url, seed=1, **warm)) == first
    assert len({text_of(server.describe(url, seed=seed, **warm)) for seed in range(6)}) > 1
    # With this top_p, only the likeliest token can be sampled.
    almost = {"temperature": 2, "top_p": 1e-6, "max_tokens": 30}
    assert text_of(server.describe(url, **almost)) == greedy
    beams = [server.describe(url, num_beams=4, max_tokens=30) for url in urls(8)]
    assert [text_of(beam) for beam in beams] != [
        text_of(server.describe(url, max_tokens=30)) for url in urls(8)
    ]


@pytest.mark.parametrize(
    "sampling", [{"temperature": 2, "top_p": 1, "seed": 7}, {"num_beams": 4, "max_tokens": 30}]
)
def test_regions_with_a_seed_or_beams_do_not_depend_on_each_other(server, folder, sampling):
    alone = [text_of(server.describe(url, **sampling)) for url in urls(4)]
    answers, sizes = from_a_full_queue(server, folder, [(url, sampling) for url in urls(4)])
    assert [text_of(answer) for answer in answers] == alone
    assert sizes == [1] * 4


def test_text_and_image_in_any_order_with_or_without_the_tag(server):
    url = data_url(rgba(2))
    wanted = text_of(server.describe(url, text="Say what it is."))
    picture = {"type": "image_url", "image_url": {"url": url}}
    text = {"type": "text", "text": "what it is."}
    for messages in (
        [{"role": "user", "content": [picture, {"type": "text", "text": "Say what it is."}]}],
        [
            {
                "role": "user",
                "content": [{"type": "text", "text": "<image>\nSay what it is."}, picture],
            }
        ],
    ):
        status, answer, _ = server.complete({"messages": messages})
        assert status == 200
        assert text_of(answer["choices"][0]) == wanted
    status, answer, _ = server.complete(
        {
            "messages": [
                {"role": "system", "content": "Say"},
                {"role": "user", "content": [picture, text]},
            ]
        }
    )
    assert text_of(answer["choices"][0]) == text_of(server.describe(url, text="Say\nwhat it is."))


def test_health_and_models(server):
    status, health, _ = server.call("GET", "/health", token="")
    assert status == 200
    assert {**health, "described": 0} == {
        "status": "ready",
        "message": "the DAM server is ready",
        "model": "DAM-3B-Self-Contained",
        "device": "cpu",
        "precision": "fp16",
        "queued": 0,
        "describing": 0,
        "described": 0,
        "version": "0.1.0",
    }
    server.describe(urls(1)[0])
    assert server.health()["described"] == health["described"] + 1
    status, models, _ = server.call("GET", "/v1/models")
    (model,) = models["data"]
    assert (models["object"], model["id"], model["parallel"]) == (
        "list",
        "describe_anything_model",
        4,
    )


# -- wrong requests -------------------------------------------------------------------


def refused(server, body, status, code, *words):
    found, answer, _ = server.complete(body)
    assert (found, answer["error"]["code"]) == (status, code), answer
    assert answer["error"]["type"] == "invalid_request_error"
    for word in words:
        assert word in answer["error"]["message"]


def png_of(width, height):
    """Return a PNG with the header of an image of this size and hardly any data."""
    head = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
    return "data:image/png;base64," + base64.b64encode(data).decode()


def test_the_error_for_a_wrong_image_names_the_problem(server):
    good = rgba()
    whole = data_url(good)
    prefix, _, data = whole.partition(",")
    cut = f"{prefix},{data[: len(data) // 8 * 4]}"
    empty = good.copy()
    empty.putalpha(0)
    for url, code, word in (
        ("http://127.0.0.1:1/a.png", "picture_not_inline", "fetches nothing"),
        ("file:///etc/passwd", "picture_not_inline", "data URL"),
        (data_url(good.convert("RGB"), "JPEG", "image/jpeg"), "picture_not_png", "image/jpeg"),
        (data_url(good.convert("RGB"), "JPEG"), "picture_undecodable", "PNG"),
        (data_url(good.convert("RGB")), "picture_without_alpha", "RGB"),
        (data_url(empty), "mask_empty", "alpha is 0"),
        ("data:image/png;base64,@@@@", "picture_not_base64", "base64"),
        ("data:image/png;base64,AAAA", "picture_undecodable", "PNG"),
        (cut, "picture_undecodable", "PNG"),
        (png_of(8000, 8000), "picture_too_large", "8000x8000"),
        (png_of(60000, 60000), "picture_too_large", "at most"),
    ):
        refused(server, request(url), 400, code, word)
    assert server.describe(whole)


def test_the_error_for_a_wrong_request_names_the_problem(server):
    url = data_url(rgba())
    picture = {"type": "image_url", "image_url": {"url": url}}
    text = {"type": "text", "text": "x"}
    refused(server, b"{", 400, "bad_json")
    refused(server, b"\xff\xfe\x00", 400, "bad_json")
    refused(server, b"[" * 100_000, 400, "bad_json")
    refused(server, [], 400, "bad_json", "a list")
    refused(server, {}, 400, "bad_messages")
    refused(server, request(None), 400, "picture_missing", "no image")
    refused(server, {"messages": [{"role": "user", "content": "hi"}]}, 400, "picture_missing")
    for messages, code, word in (
        ("hi", "bad_value", "messages is a text"),
        (["hi"], "bad_messages", "messages[0] is a text"),
        ([{"role": "assistant", "content": "hi"}], "bad_messages", "assistant"),
        ([{"role": "system", "content": [picture]}], "bad_messages", "system message"),
        ([{"role": "user", "content": 3}], "bad_messages", "a number"),
        ([{"role": "user", "content": [{"type": "audio"}]}], "bad_messages", "content[0]"),
        ([{"role": "user", "content": ["x"]}], "bad_messages", "content[0]"),
        ([{"role": "user", "content": [{**picture, "image_url": url}]}], "bad_messages", "url"),
        ([{"role": "user", "content": [text, picture]}] * 2, "bad_messages", "2 user messages"),
        ([{"role": "user", "content": [text, picture, picture]}], "pictures_too_many", "2"),
        ([{"role": "user", "content": [picture]}], "bad_text", "no text"),
    ):
        refused(server, {"messages": messages}, 400, code, word)
    refused(server, request(url, text="a <image> b"), 400, "bad_text", "<image>")
    refused(server, request(url, text="x" * 5000), 400, "bad_text", "5000")
    refused(server, request(url, stream=True), 400, "stream_unsupported", "stream")
    refused(server, request(url, stream="no"), 400, "bad_value", "stream is a text")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("temperature", [-0.1, 2.1, "1", True, [], float("nan"), float("inf")]),
        ("top_p", [0, -1, 1.1, "x", False]),
        ("num_beams", [0, 17, 1.5, "2", True]),
        ("max_tokens", [0, 1025, 2.0, "9", 10**30]),
        ("max_completion_tokens", [0, 1025]),
        ("seed", ["x", 1.5, 2**64]),
        ("n", [2, 0, "1"]),
    ],
)
def test_the_error_for_a_wrong_parameter_names_it(server, name, values):
    url = data_url(rgba())
    for value in values:
        refused(server, request(url, **{name: value}), 400, "bad_value", name)
    assert server.describe(url, **{name: None})


def test_a_request_that_is_too_large_is_refused(server):
    refused(server, b" " * (65 * 2**20), 413, "request_too_large", "larger than")
    assert server.health()["status"] == "ready"


def test_other_paths_and_methods_are_refused(server):
    for method, path in (("GET", "/"), ("GET", "/v1/chat/completions"), ("POST", "/health")):
        status, answer, _ = server.call(method, path)
        assert status == 404
        assert "/v1/chat/completions" in answer["error"]["message"]


def test_the_token_is_required_and_never_logged(server):
    body = request(data_url(rgba()))
    for token in ("", "wrong", TOKEN + "x", "\u00e4"):
        for path in ("/v1/chat/completions", "/chat/completions"):
            status, answer, _ = server.complete(body, path=path, token=token)
            assert (status, answer["error"]["code"]) == (401, "wrong_token")
        assert server.call("GET", "/v1/models", token=token)[0] == 401
    assert server.complete(body)[0] == 200
    assert TOKEN not in server.log.read_text()
    assert "Describe it." not in server.log.read_text()


# -- failures of the model ---------------------------------------------------------------------


def test_an_image_that_breaks_the_model_fails_alone(server, folder, gate):
    gate.unlink()
    alone = [text_of(server.describe(url)) for url in urls(3)]
    gate.touch()
    blocker = block(server, folder)
    before = len(batches(folder))
    bad = data_url(rgba(50, first_pixel=RED))

    def work(url):
        if url is None:
            wait_for(lambda: server.health()["queued"] == 4, "four regions in the queue")
            gate.unlink()
            return None
        return server.complete(request(url))

    *answers, failed, _ = together(work, [*urls(3), bad, None])
    blocker.wait()
    assert [text_of(answer["choices"][0]) for _, answer, _ in answers] == alone
    assert failed[0] == 500
    assert failed[1]["error"]["code"] == "description_failed"
    assert "this picture breaks the model" in failed[1]["error"]["message"]
    assert batches(folder)[before:] == [4, 1, 1, 1, 1]
    assert server.health()["status"] == "ready"


def test_out_of_memory_halves_the_batch(server, folder, gate):
    blocker = block(server, folder)
    before = len(batches(folder))
    pictures = [*urls(3), data_url(rgba(51, first_pixel=BLUE))]

    def work(url):
        if url is None:
            wait_for(lambda: server.health()["queued"] == 4, "four regions in the queue")
            gate.unlink()
            return None
        return server.complete(request(url))

    answers = together(work, [*pictures, None])[:4]
    blocker.wait()
    assert [status for status, _, _ in answers] == [200] * 4
    # Four images do not fit, nor does the half with the blue one.
    assert sorted(batches(folder)[before:]) == [1, 1, 2, 2, 4]


def test_a_region_that_does_not_fit_is_refused_and_the_server_goes_on(server):
    status, answer, headers = server.complete(request(data_url(rgba(0, first_pixel=GREEN))))
    assert (status, answer["error"]["code"]) == (503, "out_of_memory")
    assert answer["error"]["type"] == "server_error"
    assert int(headers["Retry-After"]) >= 1
    assert server.describe(urls(1)[0])


# -- the queue ---------------------------------------------------------------------------------


def test_a_full_queue_refuses_until_a_client_disconnects(server, folder, gate):
    blocker = block(server, folder)
    body = json.dumps(request(urls(1)[0])).encode()
    head = {"Authorization": f"Bearer {TOKEN}"}
    waiting = []
    for count in range(1, 7):
        waiting.append(server.connect())
        waiting[-1].request("POST", "/v1/chat/completions", body, head)
        wait_for(lambda count=count: server.health()["queued"] == count, "one more in the queue")
    status, answer, headers = server.complete(body)
    assert (status, answer["error"]["code"]) == (429, "queue_full")
    assert answer["error"]["type"] == "rate_limit_error"
    assert int(headers["Retry-After"]) >= 1
    for connection in waiting[:5]:
        connection.close()
    wait_for(lambda: server.health()["queued"] == 1, "five less in the queue")
    before = len(batches(folder))
    gate.unlink()
    answer = waiting[5].getresponse()
    assert answer.status == 200
    assert json.loads(answer.read())["choices"]
    assert batches(folder)[before:] == [1]
    assert blocker.wait() == 0


def test_a_client_that_disconnects_ends_its_description(server, folder, gate):
    tokens = folder / "journal.tokens"
    gate.unlink()
    _, whole, _ = server.complete(BLOCKER)
    assert whole["usage"]["completion_tokens"] > 3
    gate.touch()
    blocker = block(server, folder)
    assert server.health()["describing"] == 1
    described = len(tokens.read_text().splitlines())
    blocker.kill()
    blocker.wait()
    wait_for(lambda: server.health()["describing"] == 0, "the disconnected client")
    gate.unlink()
    assert server.describe(urls(1)[0])
    # It was at the model, and ended after the first token.
    assert tokens.read_text().splitlines()[described] == "1"


# -- start and end -----------------------------------------------------------------------------


def test_while_it_loads_health_answers_and_regions_are_refused(start, load_gate):
    server = start(token="")
    status, health, _ = server.call("GET", "/health")
    assert (status, health["status"], health["message"]) == (
        503,
        "loading",
        "the DAM server is loading",
    )
    assert "error" not in health
    status, answer, headers = server.complete(request(urls(1)[0]))
    assert (status, answer["error"]["code"]) == (503, "loading")
    assert int(headers["Retry-After"]) >= 1
    assert server.call("GET", "/v1/models")[0] == 200
    load_gate.unlink()
    # Without a token in the environment, clients need none.
    assert server.wait_ready().describe(urls(1)[0])
    assert server.end(signal.SIGINT) == 0
    log = server.log.read_text()
    assert "Traceback" not in log
    assert log.count(" ready after ") == 1


def test_it_ends_while_it_loads(start, load_gate):
    server = start()
    assert server.health()["status"] == "loading"
    assert server.end() == 0
    assert "Traceback" not in server.log.read_text()


def test_a_terminated_server_finishes_its_batch(start, folder, gate):
    gate.unlink()
    server = start().wait_ready()
    gate.touch()
    blocker = block(server, folder)
    body = json.dumps(request(urls(1)[0])).encode()
    queued = server.connect()
    queued.request("POST", "/v1/chat/completions", body, {"Authorization": f"Bearer {TOKEN}"})
    wait_for(lambda: server.health()["queued"] == 1, "a region in the queue")
    server.process.send_signal(signal.SIGTERM)
    answer = queued.getresponse()
    assert answer.status == 503
    assert json.loads(answer.read())["error"]["code"] == "stopping"
    status, health, _ = server.call("GET", "/health")
    assert (status, health["status"]) == (503, "stopping")
    assert server.complete(body)[0] == 503
    gate.unlink()
    assert blocker.stdout.read().strip() == "200"
    assert server.process.wait(timeout=60) == 0
    assert "Traceback" not in server.log.read_text()


def test_a_terminated_server_does_not_wait_forever(start, folder, gate):
    gate.unlink()
    server = start().wait_ready()
    gate.touch()
    blocker = block(server, folder)
    assert server.end() == 0
    assert gate.exists()
    blocker.wait()


PARENT = """
import subprocess, sys
child = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE)
sys.stdout.write(f"{child.pid}\\n")
sys.stdout.flush()
child.wait()
"""


def alive(pid):
    """Whether a process runs and is no zombie."""
    try:
        with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks at /proc")  # noqa: PTH112
@pytest.mark.parametrize("loaded", [False, True])
def test_it_ends_with_its_killed_parent(checkpoint, tmp_path, loaded):
    log = tmp_path / "log"
    with log.open("w") as errors:
        parent = subprocess.Popen(
            [sys.executable, "-c", PARENT, *command(checkpoint, extra=["--with-parent"])],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    child = int(parent.stdout.readline())
    wait_for(lambda: (" ready " if loaded else "listening") in log.read_text(), "a server")
    assert alive(child)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_for(lambda: not alive(child), "the end of the server")
    assert "has ended" in log.read_text()


def test_as_a_module_and_the_command_line(checkpoint):
    environ = environment(PYTHONPATH=str(ROOT))
    status, said = run_to_the_end(checkpoint / "no", environ=environ, main=None)
    assert (status, "does not exist" in said) == (3, True)
    status, said = run_to_the_end(checkpoint, main=None, environ=environ, max_batch=0)
    assert (status, "--max-batch 0" in said) == (2, True)
    done = subprocess.run([PYTHON, SERVER / "__main__.py"], env=environment(), capture_output=True)
    assert done.returncode == 2
    assert b"required" in done.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.2", "::", "example.org"])
def test_an_open_host_without_a_token_is_refused(checkpoint, host):
    status, said = run_to_the_end(checkpoint, host=host)
    assert status == 2
    assert host in said
    assert "DAM_TEST_TOKEN" in said


def test_a_port_in_use_is_reported(server, checkpoint):
    status, said = run_to_the_end(checkpoint, port=server.port)
    assert status == 1
    assert str(server.port) in said
    assert "Traceback" not in said


# -- checkpoints that cannot be loaded ---------------------------------------------------------


def cannot_load(checkpoint, *words, environ=None, **options):
    status, said = run_to_the_end(checkpoint, environ=environ, **options)
    assert status == 3, said
    assert "Traceback" not in said
    lines = [line for line in said.splitlines() if all(word in line for word in words)]
    assert len(lines) == 1, said


@pytest.fixture
def copy(checkpoint, tmp_path):
    """A copy of the checkpoint with a lock as `deep_perception models fetch` writes it."""
    path = tmp_path / "DAM"
    subprocess.run(["cp", "-r", str(checkpoint), str(path)], check=True)
    files = {
        file.relative_to(path).as_posix(): {
            "size": file.stat().st_size,
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        }
        for file in path.rglob("*")
        if file.is_file()
    }
    (path / "models.lock.json").write_text(json.dumps({"model": "dam", "files": files}))
    return path


def test_a_checkpoint_with_its_lock_is_loaded(copy, tmp_path):
    server = Server(copy, tmp_path / "log")
    try:
        assert server.wait_ready().describe(urls(1)[0])
        assert "models.lock.json" not in server.log.read_text()
    finally:
        server.kill()


def test_code_that_was_changed_is_not_executed(copy, tmp_path):
    code = copy / "llava_llama.py"
    old = code.read_bytes()
    # The size stays the same.
    code.write_bytes(f"open({str(tmp_path / 'executed')!r}, 'w')\n#".encode().ljust(len(old), b"#"))
    cannot_load(copy, "llava_llama.py", "not as downloaded", "models fetch dam")
    assert not (tmp_path / "executed").exists()


def test_code_that_is_not_in_the_lock_is_not_executed(copy):
    (copy / "more.py").write_text("x = 1\n")
    cannot_load(copy, "more.py", "does not name")


def test_files_that_are_cut_or_missing_are_named(copy):
    weights = copy / "llm" / "model.safetensors"
    data = weights.read_bytes()
    weights.write_bytes(data[:-1])
    cannot_load(copy, "model.safetensors", str(len(data)), "models fetch dam")
    weights.unlink()
    cannot_load(copy, "model.safetensors is missing")
    (copy / "models.lock.json").write_text("{")
    cannot_load(copy, "models.lock.json is not readable")
    (copy / "models.lock.json").write_text('{"files": {"../x": {"size": 1, "sha256": ""}}}')
    cannot_load(copy, "outside of the checkpoint")


def test_broken_weights_without_a_lock_are_one_line(copy):
    (copy / "models.lock.json").unlink()
    weights = copy / "llm" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    cannot_load(copy, "cannot be loaded", str(copy))


def test_out_of_memory_while_loading_says_what_to_do(copy):
    (copy / "models.lock.json").unlink()
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "load_error": "memory"}))
    cannot_load(copy, "memory is too small", "8bit or 4bit")


def test_without_a_gpu_cuda_is_refused(checkpoint):
    cannot_load(
        checkpoint,
        "no CUDA GPU",
        "describer.dam.device",
        device="cuda",
        environ=environment(CUDA_VISIBLE_DEVICES=""),
    )
    cannot_load(checkpoint, "8bit needs device cuda", precision="8bit")


@pytest.mark.parametrize("version", ["4.41.1", "4.51.0", "5.23.0"])
def test_another_transformers_is_refused(checkpoint, tmp_path, version):
    info = tmp_path / f"transformers-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: transformers\nVersion: {version}")
    environ = environment(PYTHONPATH=str(tmp_path))
    cannot_load(checkpoint, version, "4.41.2 to 4.50.3", "setup-dam", environ=environ)


def test_an_image_with_the_size_of_a_camera(server):
    assert server.describe(data_url(rgba(1, size=(1920, 1080))))
    thin = Image.new("RGBA", (3, 1), (9, 9, 9, 255))
    assert server.describe(data_url(thin))
