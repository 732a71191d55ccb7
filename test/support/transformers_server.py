"""`transformers serve` as a process: a real server that chats about pictures."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

# It imports torch and loads the model: 8 s alone, more on a loaded machine.
READY_WITHIN_S = 180.0


class TransformersServer:
    """Serves one model folder on a port of the loopback; its log is kept."""

    def __init__(self, model, log):
        self.model, self.log_path = str(model), log
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self.process = None
        self.cache = log.parent / "cache"

    def start(self):
        """Start it, and wait until it answers."""
        command = [sys.executable, "-m", "transformers.cli.transformers", "serve", self.model]
        command += ["--host", "127.0.0.1", "--port", str(self.port), "--device", "cpu"]
        with self.log_path.open("a") as stream:
            self.process = subprocess.Popen(
                command,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env={**os.environ, "HF_HOME": str(self.cache), "HF_HUB_OFFLINE": "1"},
            )
        deadline = time.monotonic() + READY_WITHIN_S
        while not self._healthy():
            assert self.process.poll() is None, self.log_path.read_text()[-3000:]
            assert time.monotonic() < deadline, self.log_path.read_text()[-3000:]
            time.sleep(0.2)

    def _healthy(self):
        # No proxy has a part in it.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"http://127.0.0.1:{self.port}/health", timeout=5) as answer:
                return answer.status == 200
        except (OSError, urllib.error.URLError):
            return False

    def make_cache(self):
        """An empty one. Without any, a server that is asked for its models answers 500."""
        (self.cache / "hub").mkdir(parents=True)

    def kill(self):
        """As a crash does it."""
        if self.process:
            self.process.kill()
            self.process.wait()
