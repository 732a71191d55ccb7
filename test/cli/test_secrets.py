"""No secret of a chat server is in anything that the command line prints or writes."""

import base64
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import quote

import pytest

from deep_perception.cli.main import main
from support.chat_server import Reply, Server, completion

ROOT = Path(__file__).parents[2]
PHOTOGRAPH = ROOT / "test" / "data" / "coffee.jpg"
TOKEN, PASSWORD, KEY = "sk-t0ken-Wx7/Qz+2", "p@ss:w0rd/Vb8", "k3y-Rm5 Jn4Pq"
BASIC = base64.b64encode(f"robot:{PASSWORD}".encode()).decode()
# Any of these in an output is a leak, also where a text was cut or its characters were escaped.
PARTS = ("t0ken", "Wx7/", "Wx7Vb8", "w0rd", "k3y-R", "Rm5 J", "Jn4Pq", BASIC[:12])


def deep_perception(*arguments, cwd, **variables):
    return subprocess.run(
        [sys.executable, "-m", "deep_perception", *map(str, arguments)],
        capture_output=True, text=True, cwd=cwd, timeout=120, check=False,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", **variables},
    )  # fmt: skip


def leaks(done, folder):
    """Return where a part of a secret is: in the output, or in a file, or in a file's name."""
    texts = {"stdout": done.stdout, "stderr": done.stderr}
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix != ".png":
            texts[str(path)] = path.name + path.read_bytes().decode("latin-1")
    return [(place, part) for place, text in texts.items() for part in PARTS if part in text]


ECHO = " ".join(
    [
        *(TOKEN, repr(TOKEN), quote(PASSWORD, safe=""), PASSWORD, BASIC, KEY, quote(KEY)),
        f"http://robot:{quote(PASSWORD, safe='')}@127.0.0.1/v1?api_key={quote(KEY)}",
        f"{TOKEN[:9]}***",
    ]
)
REPLIES = [
    Reply(completion({"label": f"key {ECHO}", "caption": f"A cup with {ECHO} on it."})),
    Reply({"error": {"message": f"{'x' * 290}{ECHO}"}}, 400),
    Reply(completion(f"I saw {ECHO}.")),
    Reply(f"<html><title>{ECHO}</title></html>", 500, kind="text/html"),
    Reply({"error": {"message": ECHO}}, 401),
]


@pytest.mark.chat
def test_no_secret_is_printed_or_written(tmp_path):
    replies = iter(REPLIES)
    with Server(lambda request: next(replies, REPLIES[-1])) as server:
        url = server.url.replace("//", f"//robot:{quote(PASSWORD, safe='')}@")
        done = deep_perception(
            "analyze", PHOTOGRAPH, "--output", tmp_path / "out",
            "--describer.backend", "chat", "--describer.url", f"{url}?api_key={quote(KEY)}",
            "--sweep.max_regions", 8, "--describer.cache_file", tmp_path / "cache",
            "--describer.max_concurrency", 1,
            cwd=tmp_path, LM_API_TOKEN=TOKEN, HTTP_PROXY=f"http://me:{quote(TOKEN, safe='')}@h:1",
        )  # fmt: skip
    assert server.headers[0]["authorization"] == f"Basic {BASIC}"
    assert len(server.requests) >= len(REPLIES)
    assert "the server does not accept the name and password in describer.url" in done.stderr
    assert leaks(done, tmp_path) == []
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--describer.ulr", "http://u:w0rdVb8@h/v1"], ""),
        (["--describer.url=http://u:w0rd/Vb8@h/v1"], ""),
        (["--describer.url", "u:w0rdVb8@h:1/v1"], ""),
        (["--describer.url", "http://u:w0rd[Vb8@h/v1"], ""),
        (["--settings", "s.yaml"], "describer:\n  url: 'http://u:w0rdVb8@h/v1\n x: ]"),
        (["--settings", "s.yaml"], "describer.url: ['http://u:w0rdVb8@h/v1']"),
        (["--describer.api_key_env", "sk-t0ken-Wx7Vb8"], ""),
        (["--describer.api_key_env", "MY_TOKEN"], ""),
    ],
)
@pytest.mark.chat
def test_no_secret_is_in_the_message_about_a_wrong_command(
    arguments, text, tmp_path, monkeypatch, capsys
):
    for module, name in ((sys, "excepthook"), (sys, "unraisablehook"), (threading, "excepthook")):
        monkeypatch.setattr(module, name, getattr(module, name))  # main replaces it
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MY_TOKEN", "t0ken-Wx7Vb8\r")
    Path("s.yaml").write_text(text)
    command = ["analyze", str(PHOTOGRAPH), "--describer.backend", "chat"]
    try:
        status = main([*command, "--describer.fallback", "", *arguments])
    except SystemExit as ended:
        status = ended.code
    assert status == 2
    shown = "".join(capsys.readouterr())
    assert "deep_perception" in shown
    assert [part for part in PARTS if part in shown] == []
