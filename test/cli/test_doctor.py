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


def graph_with(monkeypatch, **parameters):
    """A graph in which somebody has announced a node with these parameters."""
    node = {name.replace("__", "."): value for name, value in parameters.items()}
    monkeypatch.setattr(doctor, "_check_graph", lambda: ([], [node]))


@pytest.mark.chat
@pytest.mark.parametrize("by_the_user", [False, True])
def test_a_node_that_anybody_can_announce_gets_no_token(capsys, monkeypatch, by_the_user):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-key-of-the-cloud")
    monkeypatch.setenv("LM_API_TOKEN", "the-token-of-the-server")
    with Server(lambda request: GOOD, PLAIN) as server:
        graph_with(
            monkeypatch, describer__backend="chat", describer__url=server.url,
            describer__api_key_env="AWS_SECRET_ACCESS_KEY",
        )  # fmt: skip
        findings = run(capsys, *(["--describer.url", server.url] if by_the_user else []))
        asked = str(server.headers)
    # A server on this computer is asked all the same.
    assert of(findings, "Describer's server")[-1][0] == "ok"
    assert asked
    assert "the-key-of-the-cloud" not in asked
    assert ("the-token-of-the-server" in asked) == by_the_user


@pytest.mark.parametrize(
    "url", ["http://192.0.2.1:80/v1", "http://localhost.evil.example/v1", "http://[", "\x1b[2J\n"]
)
def test_a_server_elsewhere_that_a_node_names_is_not_asked(capsys, monkeypatch, url):
    graph_with(monkeypatch, describer__backend="attributes", describer__url=url)
    findings = run(capsys)
    (remark,) = [what for _, what in of(findings, "Analyzer nodes")]
    assert "was not asked" in remark
    assert remark.isprintable()
    assert all("192.0.2.1" not in what for _, what in of(findings, "Describer's server"))


def test_no_code_that_a_node_names_is_loaded(capsys, monkeypatch, tmp_path):
    (tmp_path / "evil_module.py").write_text("raise SystemExit(99)")
    monkeypatch.syspath_prepend(tmp_path)
    evil = "evil_module:Class"
    graph_with(
        monkeypatch, segmenter__backend=evil, describer__backend=evil, describer__fallback=evil
    )
    findings = run(capsys, "--describer.url", "http://127.0.0.1:9/v1")
    assert ("ok", "segmenter superpixels, embedded") in of(findings, "Backends")
    assert not any(evil in each["what"] for each in findings)
