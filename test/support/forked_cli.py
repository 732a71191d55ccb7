"""The command line in processes that are forked from one which has imported it.

A test of the command line needs a process with its own arguments, environment, folder, signals and
exit status, but not the time that Python needs to import everything. ``forked_cli`` starts such a
process in milliseconds and returns what behaves like a ``subprocess.Popen`` with text output.
"""

import atexit
import contextlib
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Everything that a command imports, but huggingface_hub, which reads the environment then.
PRELOADED = (
    "deep_perception.cli.main",
    "deep_perception.checkpoints.download",
    "deep_perception.checkpoints.on_disk",
    "deep_perception.checkpoints.transfer",
    "deep_perception.describers.dam.launch",
    "asyncio",
    "filelock",
    "httpx",
    "httpx2",
    "shlex",
    "tqdm.auto",
)


class ForkedProcess:
    """A started command. ``out``, ``err`` and ``returncode`` are set by ``communicate``."""

    def __init__(self, files, reports):
        self._files, self._reports = files, reports
        self.returncode = None
        self.pid = int(self._reports.readline())

    def send_signal(self, number):
        os.kill(self.pid, number)

    def terminate(self):
        if self.returncode is None:
            self.send_signal(signal.SIGTERM)

    def communicate(self, timeout=60):
        """Wait for the end, and return standard output and standard error."""
        if self.returncode is None:
            if not select.select([self._reports], [], [], timeout)[0]:
                self.send_signal(signal.SIGKILL)
                raise subprocess.TimeoutExpired("deep_perception", timeout)
            self.returncode = int(self._reports.readline())
            self._reports.close()
            self.out, self.err = (Path(file.name).read_text("utf-8") for file in self._files)
            for file in self._files:
                file.close()
        return self.out, self.err


class ForkServer:
    """The process that forks. It is started with the first command and ends with this one."""

    def __init__(self):
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        kept = ("PATH", "LD_LIBRARY_PATH")
        variables = {name: os.environ[name] for name in kept if name in os.environ}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                env=variables | {"PYTHONPATH": str(ROOT)},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )

    def close(self):
        self._ours.close()
        self._process.wait()

    def start(self, arguments, *, cwd, env, before=""):
        """Start ``deep_perception ARGUMENTS``; ``before``: Python code that runs first."""
        files = [tempfile.NamedTemporaryFile() for _ in range(2)]  # noqa: SIM115
        reports, writer = os.pipe()
        request = {"arguments": [*map(str, arguments)], "cwd": str(cwd), "env": env}
        data = json.dumps(request | {"before": before}).encode()
        descriptors = [*(file.fileno() for file in files), writer]
        socket.send_fds(self._ours, [data], descriptors)
        os.close(writer)
        return ForkedProcess(files, os.fdopen(reports, "r", buffering=1))


_server = []


def forked_cli(arguments, *, cwd, env, before=""):
    """Start ``deep_perception ARGUMENTS`` in a folder, with exactly these environment variables."""
    if not _server:
        _server.append(ForkServer())
        atexit.register(_server[0].close)
    return _server[0].start(arguments, cwd=cwd, env=env, before=before)


# -- in the process that forks -------------------------------------------------------------------


def serve(connection):
    for name in PRELOADED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    while True:
        data, descriptors, _, _ = socket.recv_fds(connection, 1 << 16, 3)
        if not data:
            return
        reap()
        if os.fork() == 0:
            connection.close()
            watch(json.loads(data), *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def reap():
    """Wait for the processes that have ended, so that their time counts as the tests' own."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def watch(request, out, err, reports):
    """Fork the command, and report its process id and its exit status."""
    pid = os.fork()
    if pid == 0:
        os.close(reports)
        run(request, out, err)
    os.close(out)
    os.close(err)
    os.write(reports, b"%d\n" % pid)
    _, status = os.waitpid(pid, 0)
    os.write(reports, b"%d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def run(request, out, err):
    status = 1
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for descriptor, standard in ((out, 1), (err, 2)):
            os.dup2(descriptor, standard)
            os.close(descriptor)
        os.chdir(request["cwd"])
        os.environ.clear()
        os.environ.update(request["env"])
        sys.path[:0] = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        sys.argv = ["deep_perception", *request["arguments"]]
        exec(request["before"], {})
        status = importlib.import_module("deep_perception.cli.main").main()
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(status)


if __name__ == "__main__":
    # Its folder is that of the tests' own modules, whose names must not hide others.
    del sys.path[0]
    with socket.socket(fileno=int(sys.argv[1])) as line:
        serve(line)
    with contextlib.suppress(ChildProcessError):
        while os.wait():
            pass
