"""The answers of the DAM server: real processes in the environment of requirements/dam.txt.

The model is tiny and random. Its code is in dam_remote_code.py, and it is loaded like DAM.
"""

import time

import pytest
from PIL import Image

from support.dam_server_process import (
    data_url,
    from_a_full_queue,
    request,
    rgba,
    text_of,
    urls,
    wait_for,
)

pytestmark = pytest.mark.dam


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
    # The last request of the test before is answered shortly before it is counted as done.
    wait_for(lambda: not server.health()["describing"], "the end of the last batch")
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


def test_an_image_with_the_size_of_a_camera(server):
    assert server.describe(data_url(rgba(1, size=(1920, 1080))))
    thin = Image.new("RGBA", (3, 1), (9, 9, 9, 255))
    assert server.describe(data_url(thin))
