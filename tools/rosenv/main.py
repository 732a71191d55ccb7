"""Do the steps that are needed, one start at a time."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from .plan import STATE, Plan, choose
from .steps import Setup
from .terminal import Problem, say, step, stop_on_signals


def set_up(requirements: str | None) -> int:
    """Make what is missing and print the environment file; return the exit status."""
    stop_on_signals()
    try:
        plan = choose(requirements)
        _use_its_python(plan)
        say(plan.headline)
        setup = Setup(plan)
        if setup.stale():
            with _one_at_a_time() as lock:
                setup.lock = lock
                _do(setup)
    except (Problem, OSError) as problem:
        say(f"error: {problem}")
        return 1
    except KeyboardInterrupt:
        say("\nstopped. The next start goes on from here.")
        return 130
    sys.stdout.write(f"{plan.env_file}\n")
    return 0


def _use_its_python(plan: Plan) -> None:
    """Go on in the environment's own Python, unless the caller names one.

    So PYTHON is needed only at the first start. -S leaves out the wheels' start-up hook.
    """
    python = plan.venv / "bin" / "python"
    finished = plan.venv / ".stamps" / "wheels"
    inside = sys.executable == str(python)
    if plan.kind != "sourced" and not os.environ.get("PYTHON") and not inside and finished.exists():
        version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        if not (plan.venv / "lib" / version).exists() and python.exists():
            os.execv(python, [str(python), "-S", *sys.argv])


@contextmanager
def _one_at_a_time() -> Iterator[int]:
    STATE.mkdir(exist_ok=True)
    with (STATE / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another set-up in this folder to end ...")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()


def _do(setup: Setup) -> None:
    needed = setup.stale()
    setup.log.unlink(missing_ok=True)
    titles = {
        "check": "checking Python, compiler and headers",
        "venv": f"making {setup.plan.venv.name} with {setup.base.name}",
        "wheels": f"installing {len(setup.pins)} pinned wheels",
        "paths": "correcting paths in the wheels",
        "interfaces": f"building {' and '.join(path.name for path in setup.sources)}",
    }
    if setup.plan.kind != "wheels":
        del titles["paths"]
    if setup.plan.kind == "plain":
        titles["check"] = "checking Python"
        del titles["interfaces"]
    for number, (name, title) in enumerate(titles.items(), 1):
        if name in needed:
            with step(number, len(titles), title):
                getattr(setup, name)()
    if needed:
        setup.ready()
