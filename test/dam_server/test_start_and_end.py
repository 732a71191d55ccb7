"""How the DAM server starts and ends."""

import json
import os
import signal
import subprocess
import sys

import pytest

from support.dam_server_process import (
    HEADERS,
    PYTHON,
    ROOT,
    SERVER,
    block,
    command,
    environment,
    request,
    run_to_the_end,
    urls,
    wait_for,
)

pytestmark = pytest.mark.dam


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
    queued.request("POST", "/v1/chat/completions", body, HEADERS)
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
