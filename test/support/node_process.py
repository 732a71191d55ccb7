"""Analyzer nodes in processes of their own, for tests."""

from __future__ import annotations

import atexit
import functools
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Discovery takes seconds on a loaded machine; only a test that fails waits this long.
PATIENCE_S = 60.0


class NodeServer:
    """The process that node_server.py describes."""

    def __init__(self):
        self._process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("node_server.py")],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._changed = threading.Condition()
        self._started = []
        self._codes = {}
        threading.Thread(target=self._read, daemon=True).start()
        atexit.register(self._end)

    def _read(self):
        for line in self._process.stdout:
            event = json.loads(line)
            with self._changed:
                if "started" in event:
                    self._started.append(event["started"])
                else:
                    self._codes[event["ended"]] = event["code"]
                self._changed.notify_all()

    def _end(self):
        self._process.stdin.close()
        self._process.wait(PATIENCE_S)

    def start(self, **request):
        """Start a node; returns its process id."""
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        with self._changed:
            assert self._changed.wait_for(lambda: self._started, PATIENCE_S), "no fork"
            pid = self._started.pop()
            self._codes.pop(pid, None)  # of an earlier process with this number
            return pid

    def exit_code(self, pid, timeout_s=0.0):
        """The exit code of a node, or None while it runs."""
        with self._changed:
            self._changed.wait_for(lambda: pid in self._codes, timeout_s)
            return self._codes.get(pid)


class NodeSpawner:
    """Starts each node in an interpreter of its own.

    A forked node of Kilted ends with a segmentation fault in the destructors of its libraries.
    """

    def __init__(self):
        self._processes = {}

    def start(self, *, arguments, log, python_path, environment):
        """Start a node; returns its process id."""
        path = os.pathsep.join(filter(None, [*python_path, environment.get("PYTHONPATH", "")]))
        with Path(log).open("a") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", "deep_perception.ros", *arguments],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                env={**environment, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"},
            )
        self._processes[process.pid] = process
        return process.pid

    def exit_code(self, pid, timeout_s=0.0):
        """The exit code of a node, or None while it runs."""
        try:
            return self._processes[pid].wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None


@functools.cache
def node_server():
    return NodeSpawner() if os.environ.get("ROS_DISTRO") == "kilted" else NodeServer()


class NodeProcess:
    """An analyzer node with parameters and remaps; its log is kept."""

    def __init__(self, log, *, remaps=(), python_path="", **parameters):
        arguments = ["--ros-args"]
        for remap in remaps:
            arguments += ["-r", remap]
        for name, value in parameters.items():
            text = str(value).lower() if isinstance(value, bool) else str(value)
            arguments += ["-p", f"{name}:={text}"]
        self.log_path = log
        log.touch()
        self._server = node_server()
        self.pid = self._server.start(
            arguments=arguments,
            log=str(log),
            python_path=list(filter(None, [python_path])),
            environment=dict(os.environ),
        )

    @property
    def log(self):
        return self.log_path.read_text()

    @property
    def is_running(self):
        return self._server.exit_code(self.pid) is None

    def memory_kb(self, kind="VmRSS"):
        """Memory of the process, as /proc has it."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.split(f"{kind}:")[1].split()[0])

    def send_signal(self, number):
        if self.is_running:
            os.kill(self.pid, number)

    def wait(self, timeout_s=PATIENCE_S):
        """Wait for the end of the process; returns the exit code."""
        code = self._server.exit_code(self.pid, timeout_s)
        assert code is not None, f"the node still runs after {timeout_s} s; its log: {self.log}"
        return code

    def stop(self):
        """Send SIGINT, as Ctrl-C and launch do; returns the exit code."""
        self.send_signal(signal.SIGINT)
        try:
            return self.wait()
        finally:
            self.send_signal(signal.SIGKILL)
