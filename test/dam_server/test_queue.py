"""The queue of the DAM server: failures of the model, and clients that disconnect."""

import json

import pytest

from support.dam_server_process import (
    BLOCKER,
    HEADERS,
    batches,
    block,
    data_url,
    request,
    rgba,
    text_of,
    together,
    urls,
    wait_for,
)

pytestmark = pytest.mark.dam
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


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


def test_a_full_queue_refuses_until_a_client_disconnects(server, folder, gate):
    blocker = block(server, folder)
    body = json.dumps(request(urls(1)[0])).encode()
    head = HEADERS
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
