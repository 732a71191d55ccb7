"""A process with the interface of the DAM server: options, /health, signals, exit statuses.

``environment`` makes a folder whose bin/python runs it, so that deep_perception starts it as it
starts the real server. Files in that folder, which tests write, control what it does.
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
    """Make a folder with all that a server needs of the one that `models setup-dam` makes."""
    (path / "bin").mkdir(parents=True)
    python = path / "bin" / "python"
    # -S: a start-up file of the tests' environment would set its variables again.
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "{__file__}" "{path}" "$@"\n')
    python.chmod(0o755)
    return path


def configure(path, **behaviour):
    """Set what the next started servers do, see ``main``.

    With ``import_gate`` a server waits for the file ``imported`` before it listens, and with
    ``load_gate`` for the file ``loaded`` before it is ready.
    """
    (path / "behaviour.json").write_text(json.dumps(behaviour))


def starts(path):
    """Return a dictionary for every server that was started: pid, options, variables."""
    file = path / "starts.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    return [json.loads(line) for line in lines]


def main():
    home, script = Path(sys.argv[1]), Path(sys.argv[2])
    assert script.parts[-3:] == ("deep_perception", "dam_server", "__main__.py"), script
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for name in OPTIONS:
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--with-parent", action="store_true")
    options = parser.parse_args(sys.argv[3:])
    file = home / "behaviour.json"
    behaviour = json.loads(file.read_text()) if file.exists() else {}
    with (home / "starts.jsonl").open("a") as starts_file:
        entry = {"pid": os.getpid(), "options": vars(options), "variables": dict(os.environ)}
        starts_file.write(json.dumps(entry) + "\n")
    if not behaviour.get("stubborn"):
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        if options.with_parent:
            threading.Thread(target=_end_with_parent, daemon=True).start()
    else:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    log("importing torch")
    while behaviour.get("import_gate") and not (home / "imported").exists():
        time.sleep(0.02)
    server = _serve(home, options, behaviour)
    if "noise" in behaviour:
        sys.stderr.write("x" * behaviour["noise"])
        sys.stderr.write("\nthat was much\n")
        sys.stderr.flush()
    if "fails" in behaviour:
        log(behaviour["fails"])
        sys.exit(3)
    server.serve_forever(0.05)


def _end_with_parent():
    # sys.stdin would be locked by this thread, and the interpreter aborts at its end then.
    while os.read(0, 1024):
        pass
    os._exit(0)


def _serve(home, options, behaviour):
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            loading = behaviour.get("load_gate") and not (home / "loaded").exists()
            status = "loading" if loading else behaviour.get("status", "ready")
            body = {"status": status, "error": behaviour.get("error", ""), "pid": os.getpid()}
            data = json.dumps(body).encode()
            self.send_response(200 if status == "ready" else 503)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    try:
        return ThreadingHTTPServer((options.host, int(options.port)), Handler)
    except OSError as error:
        log(f"{options.host}:{options.port}: {error.strerror}")
        sys.exit(1)


def log(line):
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
