"""Progress lines, errors and child processes of the set-up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Problem(Exception):
    """Something that the user can mend; the text says what and how."""


def say(text: str, end: str = "\n") -> None:
    """Write to stderr: stdout belongs to the command that runs in the environment."""
    sys.stderr.write(text + end)
    sys.stderr.flush()


@contextmanager
def step(number: int, total: int, what: str) -> Iterator[None]:
    """Frame one step with its one progress line."""
    say(f"[{number}/{total}] {what} ...", end="")
    start = time.monotonic()
    try:
        yield
    except BaseException:
        say(" failed" if isinstance(sys.exc_info()[1], Problem) else " stopped")
        raise
    say(f" {time.monotonic() - start:.0f} s")


def stop_on_signals() -> None:
    """Make `kill` and a closed terminal end the set-up like Ctrl-C, children included."""

    def stop(_signal: int, _frame: object) -> NoReturn:
        raise KeyboardInterrupt

    for number in STOPS:
        signal.signal(number, stop)


def run(command: Sequence[str | Path], log: Path, env: Mapping[str, str], lock: int) -> int:
    """Run with all output in `log`; nothing of it outlives us.

    A child that survives a SIGKILL of ours keeps the lock, so that the next start waits for it.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        out.write(f"$ {' '.join(map(str, command))}\n".encode())
        out.flush()
        child = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=dict(env),
            start_new_session=True,
            pass_fds=(lock,),
        )
        try:
            return child.wait()
        except BaseException:
            _end_group(child)
            raise


def _end_group(child: subprocess.Popen[bytes]) -> None:
    for number in STOPS:  # an impatient second Ctrl-C must not stop this
        signal.signal(number, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        with suppress(subprocess.TimeoutExpired):
            child.wait(timeout=3)


def output(command: Sequence[str | Path], env: Mapping[str, str] | None = None) -> str | None:
    """Return what a short command prints, or None when it fails."""
    try:
        done = subprocess.run(
            [str(part) for part in command], capture_output=True, text=True, timeout=60, env=env
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
