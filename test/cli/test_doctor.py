"""``deep_perception doctor`` without ROS: the environment and a chat server."""

import importlib.util
import json

import pytest

from deep_perception.cli import doctor
from deep_perception.cli.main import main
from support.chat_server import GOOD, NO_ENDPOINT, Reply, Server, lm_studio


@pytest.fixture(autouse=True)
def without_ros(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        doctor.importlib.util, "find_spec", lambda name: None if name == "rclpy" else found(name)
    )


def run(capsys, *arguments):
    code = main(["doctor", "--json", *arguments])
    result = json.loads(capsys.readouterr().out)
    assert result["wrong"] == sum(each["level"] == "wrong" for each in result["findings"])
    assert code == (1 if result["wrong"] else 0)
    return result["findings"]


def of(findings, section):
    return [(each["level"], each["what"]) for each in findings if each["section"] == section]


def test_without_ros_and_without_a_server(capsys):
    findings = run(capsys, "--describer.url", "http://127.0.0.1:9/v1")
    assert of(findings, "ROS") == [
        ("note", "ROS 2 is not in this shell; analyze and replay work without it")
    ]
    assert ("ok", "segmenter superpixels, embedded") in of(findings, "Backends")
    assert ("ok", "describer attributes, embedded") in of(findings, "Backends")
    ((level, what),) = of(findings, "Describer's server")
    assert level == "note"
    assert "127.0.0.1:9" in what
    assert main(["doctor", "--describer.url", "http://127.0.0.1:9/v1"]) == 0
    text = capsys.readouterr().out
    assert text.endswith("nothing is wrong\n")
    assert "tools/with_ros deep_perception doctor" in text


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("--segmenter.backend", "sam3"), "there is no 'sam3'"),
        (("--describer.backend", "lmstudio"), "there is no 'lmstudio'"),
        (("--describer.backend", "no_such_package.there:Class"), "there is no"),
        (("--segmenter.backend", "sam2", "--segmenter.fallback", "",
          "--segmenter.checkpoint", "nowhere"), "nowhere"),
    ],
)  # fmt: skip
def test_a_backend_that_cannot_work(capsys, arguments, part):
    findings = run(capsys, *arguments, "--describer.url", "http://127.0.0.1:9/v1")
    wrong = [each for each in findings if each["level"] == "wrong"]
    assert any(part in each["what"] and each["remedy"] for each in wrong)


TEXT_ONLY = {"/api/v1/models": Reply({"models": [lm_studio("llama", vision=False)]})}
PLAIN = {"/v1/models": Reply({"data": [{"id": "some-model"}]})}


@pytest.mark.chat
@pytest.mark.parametrize(
    ("listings", "answer", "level", "part"),
    [
        (None, GOOD, "ok", "answers a request with an image"),
        (PLAIN, GOOD, "ok", "some-model answers a request with an image"),
        (TEXT_ONLY, GOOD, "wrong", "'llama' takes text only"),
        (PLAIN, Reply({"error": {"message": "image input is not supported"}}, 400), "wrong",
         "takes no images"),
        (PLAIN, Reply({"error": "out of memory"}, 500), "wrong", "out of memory"),
        (PLAIN, Reply("no", 401), "wrong", "wants an API token"),
        (PLAIN, Reply({"error": "busy"}, 503), "wrong", "busy"),
        ({"/x": NO_ENDPOINT}, NO_ENDPOINT, "wrong", "set describer.model"),
    ],
)  # fmt: skip
def test_a_chat_server(capsys, listings, answer, level, part):
    with Server(lambda request: answer, listings) as server:
        findings = run(capsys, "--describer.backend", "chat", "--describer.url", server.url)
        # Looking must not cost more than one request.
        assert len(server.requests) <= 1
    assert of(findings, "Describer's server")[-1][0] == level
    assert part in of(findings, "Describer's server")[-1][1]


@pytest.mark.chat
def test_a_server_that_is_not_used_gets_no_request(capsys):
    with Server() as server:
        findings = run(capsys, "--describer.url", server.url)
        assert server.requests == []
    ((level, what),) = of(findings, "Describer's server")
    assert level == "note"
    assert "qwen-vl" in what


@pytest.mark.chat
def test_no_password_is_printed(capsys, monkeypatch):
    monkeypatch.setenv("LM_API_TOKEN", "sk-very-secret")
    with Server(lambda request: Reply({"error": "bad token sk-very-secret"}, 401)) as server:
        url = server.url.replace("http://", "http://robot:hunter2@")
        main(["doctor", "--describer.backend", "chat", "--describer.url", url])
    out = "".join(capsys.readouterr())
    assert "hunter2" not in out
    assert "very-secret" not in out


def test_a_check_that_fails_does_not_hide_the_others(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "_check_graph", lambda: 1 / 0)
    findings = run(capsys, "--describer.url", "http://127.0.0.1:9/v1")
    assert of(findings, "ROS") == [
        ("wrong", "cannot be checked: ZeroDivisionError: division by zero")
    ]
    assert of(findings, "Python")


def say(monkeypatch, **said):
    """Let a node of the graph answer with these values of its settings."""
    monkeypatch.setattr(doctor, "_check_graph", lambda: ([], [said]))


@pytest.mark.chat
def test_a_node_of_the_graph_cannot_make_it_ask_a_server_or_send_a_token(capsys, monkeypatch):
    """Every peer of the graph can say that it is an analyzer node."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
    with Server() as server:
        url = f"{server.url}?\x1b[31m"
        say(monkeypatch, **{
            "describer.backend": "chat", "describer.url": url, "describer.fallback": "",
            "describer.api_key_env": "AWS_SECRET_ACCESS_KEY",
        })  # fmt: skip
        findings = run(capsys, "--describer.url", "http://127.0.0.1:9/v1")
        assert server.requests == server.paths == []
    note = of(findings, "Describer's server")[-1]
    assert note[0] == "note"
    assert "it was not asked, because any peer of the graph could say so" in note[1]
    assert r"\x1b" in note[1]


def test_a_node_of_the_graph_cannot_make_it_import_a_module(capsys, monkeypatch, tmp_path):
    (tmp_path / "peers_package").mkdir()
    (tmp_path / "peers_package" / "__init__.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    say(monkeypatch, **{"segmenter.backend": "peers_package.there:Class",
                        "describer.backend": ["chat"], "segmenter.fallback": 3})  # fmt: skip
    findings = run(capsys, "--describer.url", "http://127.0.0.1:9/v1")
    assert ("ok", "segmenter superpixels, embedded") in of(findings, "Backends")


@pytest.mark.chat
def test_the_server_of_a_node_is_asked_if_it_is_ones_own(capsys, monkeypatch):
    with Server(lambda request: GOOD, PLAIN) as server:
        say(monkeypatch, **{"describer.backend": "chat", "describer.url": server.url,
                            "describer.model": "some-model"})  # fmt: skip
        findings = run(capsys, "--describer.url", server.url)
    assert of(findings, "Describer's server")[-1][0] == "ok"
