"""A process that keeps the DAM server's contract (options, /health, ends, exit statuses).

``environment`` makes a folder whose bin/python runs it, so that deep_perception starts it as it
starts the real one. What it does is told by files in that folder, which tests write.
"""

import argparse
import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

OPTIONS = (
    "host", "port", "checkpoint", "device", "precision", "max-batch", "max-queue", "max-tokens",
    "temperature", "top-p", "num-beams", "token-env",
)  # fmt: skip


def environment(path):
    """A folder as `models setup-dam` makes it, as far as a server is started from it."""
    (path / "bin").mkdir(parents=True)
    python = path / "bin" / "python"
    # -S: a start-up file of the tests' own environment would put its variables back.
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "{__file__}" "{path}" "$@"\n')
    python.chmod(0o755)
    return path


def tell(path, **what):
    """What the next started servers do: see ``main``."""
    (path / "told.json").write_text(json.dumps(what))


def starts(path):
    """One dictionary for every server that was started: pid, options, variables."""
    log = path / "starts.jsonl"
    lines = log.read_text().splitlines() if log.exists() else []
    return [json.loads(line) for line in lines]


def main():
    home, script = Path(sys.argv[1]), Path(sys.argv[2])
    assert script.parts[-3:] == ("deep_perception", "dam_server", "__main__.py"), script
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for name in OPTIONS:
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--with-parent", action="store_true")
    given = parser.parse_args(sys.argv[3:])
    told = json.loads((home / "told.json").read_text()) if (home / "told.json").exists() else {}
    with (home / "starts.jsonl").open("a") as log:
        entry = {"pid": os.getpid(), "options": vars(given), "variables": dict(os.environ)}
        log.write(json.dumps(entry) + "\n")
    if not told.get("stubborn"):
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        if given.with_parent:
            threading.Thread(target=_end_with_parent, daemon=True).start()
    else:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    say("importing torch")
    time.sleep(told.get("import_s", 0))
    server = _serve(home, given, told)
    if "noise" in told:
        sys.stderr.write("x" * told["noise"])
        sys.stderr.write("\nthat was much\n")
        sys.stderr.flush()
    if "fails" in told:
        say(told["fails"])
        sys.exit(3)
    server.serve_forever(0.05)


def _end_with_parent():
    # Not sys.stdin: its lock, held by this thread, makes the interpreter abort when it ends.
    while os.read(0, 1024):
        pass
    os._exit(0)


def _serve(home, given, told):
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            loading = told.get("waits") and not (home / "loaded").exists()
            status = "loading" if loading else told.get("status", "ready")
            body = {"status": status, "error": told.get("error", ""), "pid": os.getpid()}
            data = json.dumps(body).encode()
            self.send_response(200 if status == "ready" else 503)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    try:
        return ThreadingHTTPServer((given.host, int(given.port)), Handler)
    except OSError as error:
        say(f"{given.host}:{given.port}: {error.strerror}")
        sys.exit(1)


def say(line):
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
