"""Other users of the machine: they get neither the token nor images, and change nothing."""

import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from deep_perception.describers.dam import environment, health, listeners
from deep_perception.describers.dam.launch import Address
from support import dam_stand_in
from support.dam_place import ready, until

pytestmark = pytest.mark.skipif(os.name == "nt", reason="/proc and modes as on Linux")
OF_NOBODY = """
import os, socket, sys
os.setuid(65534)
listener = socket.create_server((sys.argv[1], int(sys.argv[2])))
sys.stdout.write("listening\\n")
sys.stdout.flush()
connection, _ = listener.accept()
connection.recv(1 << 16)
sys.stdout.write("used\\n")
"""


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root can become nobody")
@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_a_program_of_another_user_gets_nothing(place, monkeypatch, address):
    monkeypatch.setenv("DAM_API_TOKEN", "s3cret-token")
    other = subprocess.Popen(
        [sys.executable, "-c", OF_NOBODY, address, str(place.port)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert other.stdout.readline() == "listening\n"
        manager = place.started()
        until(lambda: "a program of another user listens at" in manager.problem())
        assert "describer.dam.manage_server to false" in manager.problem()
        assert place.pids() == []
    finally:
        other.kill()
        rest, _ = other.communicate()
    assert rest == ""
    ready(manager)  # Once the port is free, an own server is started.


def test_who_listens(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as ours:
        port = ours.getsockname()[1]
        for host in ("127.0.0.1", "localhost", "127.0.0.2"):
            assert listeners.foreign_user(host, port) is None
        monkeypatch.setattr(os, "geteuid", lambda: 4321)
        # Root is trusted.
        expected = os.getuid() or None
        assert listeners.foreign_user("localhost", port) == expected
        assert listeners.foreign_user("127.0.0.2", port) is None
        assert listeners.foreign_user("127.0.0.1", port + 1 if port < 65535 else 1) is None
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as ours:
        assert listeners.foreign_user("127.0.0.1", ours.getsockname()[1]) == expected


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{"', "other"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 60_000, "other"),
        (b"HTTP/1.1 200 OK\r\n\r\n[]", "other"),
        (b'HTTP/1.1 200 OK\r\n\r\n{"status": ["ready"]}', "other"),
        (b'HTTP/1.1 200 OK\r\n\r\n{"status": "failed", "error": "a\\n\\u001b[31m"}', "failed"),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 500, "silent"),
        (b"\0" * 100_000, "silent"),
    ],
)
def test_a_hostile_answer_of_health(answer, kind):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            connection, _ = listener.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        found = health.get_health(Address(host="127.0.0.1", port=listener.getsockname()[1]), "X")
        thread.join()
    assert found.kind == kind
    assert found.error in ("", r"a\n\x1b[31m")


def test_a_server_that_never_ends_its_answer_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(health, "TIMEOUT_S", 0.5)
    end = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                while not end.wait(0.05):
                    try:
                        connection.sendall(b" ")
                    except OSError:
                        return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        start = time.monotonic()
        found = health.get_health(Address(host="127.0.0.1", port=listener.getsockname()[1]), "X")
        assert time.monotonic() - start < 20
        end.set()
        thread.join()
    assert found.kind in ("silent", "other")


def test_the_server_inherits_no_secret_but_its_token(place, monkeypatch):
    secrets = (
        "OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "GITHUB_TOKEN", "SSH_AUTH_SOCK",
        "PIP_INDEX_URL", "HTTPS_PROXY", "MY_PASSWORD", "LD_PRELOAD", "PYTHONSTARTUP",
        "ROS_DOMAIN_ID", "CUDA_API_KEY",
    )  # fmt: skip
    needed = ("HOME", "PATH", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "LC_ALL", "TMPDIR")
    for name in (*secrets, *needed):
        monkeypatch.setenv(name, os.environ.get(name) or str(place.environment))
    monkeypatch.setenv("LD_PRELOAD", "")
    monkeypatch.setenv("DAM_API_TOKEN", "its own")
    ready(place.started())
    (start,) = dam_stand_in.starts(place.environment)
    assert start["variables"].keys() & set(secrets) == set()
    assert set(needed) <= start["variables"].keys()
    assert start["variables"]["DAM_API_TOKEN"] == "its own"
    # The token of another name is handed over, too.
    monkeypatch.setenv("ROBOT_DAM", "another")
    assert environment.server_variables("ROBOT_DAM")["ROBOT_DAM"] == "another"
    assert "ROBOT_DAM" not in environment.server_variables("DAM_API_TOKEN")


@pytest.mark.parametrize(
    "name",
    [".", "bin", "bin/python", "pyvenv.cfg", "lib", "lib/python3.12",
     "lib/python3.12/site-packages", "lib/python3.12/site-packages/a.pth"],
)  # fmt: skip
def test_an_environment_that_everybody_can_change_is_not_used(place, name):
    path = place.environment / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch() if path.suffix in (".pth", ".cfg") else path.mkdir()
    mode = path.stat().st_mode
    path.chmod(mode | 0o002)
    problem = environment.problem_of(place.environment)
    assert "every user of this machine can change" in problem
    assert str(path) in problem
    if path.is_dir():
        path.chmod(mode | 0o1002)  # the sticky bit, as in /tmp
        assert environment.problem_of(place.environment) == ""
    path.chmod(mode | 0o020)  # the group of the user
    assert environment.problem_of(place.environment) == ""


@pytest.mark.parametrize(
    "content",
    [b"", b"[" * 100_000, b"[]", b'{"requirements": NaN}', b"\xff", b"{}" + b" " * 10**6],
)
def test_a_hostile_record_of_an_environment(place, content):
    (place.environment / environment.RECORD).write_bytes(content)
    assert "is not finished" in environment.problem_of(place.environment)


def test_a_home_that_does_not_exist_is_a_missing_environment(place):
    path = environment.path_of("~no-such-user/dam")
    assert "DAM has no environment at" in environment.problem_of(path)


def test_the_log_of_a_server_is_printable(place, caplog):
    dam_stand_in.configure(place.environment, fails="a\x1b[31m\u202eb\rc " + "x" * 9999)
    manager = place.started()
    until(lambda: "status 3" in manager.problem())
    assert manager.problem().isprintable()
    assert len(manager.problem()) < 4500
    assert all(record.getMessage().isprintable() for record in caplog.records)
