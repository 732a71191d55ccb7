"""A Ray cluster to replay on: a running one, or one of this machine alone."""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import ray
from ray.exceptions import RayError

from deep_perception.backends import BackendUnavailable

LOCAL = "local"
# Longer than a cluster takes to answer, much shorter than Ray tries.
ANSWERS_WITHIN_S = 30.0
REFUSED = 3
QUIET: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
# Only messages go through it. Ray would take a third of the memory.
OBJECT_STORE_BYTES = 100_000_000
# Where no cluster is, or this machine is no part of it, Ray tries for minutes or ends the process.
PROBE = f"""
import sys, ray
try:
    ray.init(sys.argv[1], **{QUIET})
except Exception as error:
    sys.stderr.write(" ".join(str(error).split()))
    sys.exit({REFUSED})
"""


def unavailable(address: str, reason: str) -> BackendUnavailable:
    """What to raise when nothing can be replayed at ``address``."""
    return BackendUnavailable(f"--ray {address}: {' '.join(reason.split())}")


@contextmanager
def cluster(address: str, cpus: int | None) -> Iterator[None]:
    """Be in the cluster at ``address``; "local": in one that is there meanwhile, with ``cpus``.

    Raises BackendUnavailable.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # What is wrong is said here, in one line.
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    # There is no setting that keeps what it prints of dead actors off the terminal.
    ray._private.worker._worker_logs_enabled = False
    on_sigterm = signal.getsignal(signal.SIGTERM)
    with ExitStack() as stack:
        try:
            if address == LOCAL:
                # Ray leaves there what it logs.
                folder = stack.enter_context(
                    tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True)
                )
                stack.callback(ray.shutdown)
                ray.init(
                    LOCAL, num_cpus=cpus, object_store_memory=OBJECT_STORE_BYTES,
                    include_dashboard=False, _temp_dir=folder, **QUIET,
                )  # fmt: skip
            else:
                _probe(address)
                stack.callback(ray.shutdown)
                ray.init(address, **QUIET)
        except (RayError, RuntimeError, ValueError, OSError) as error:
            raise unavailable(address, str(error)) from None
        except SystemExit:
            # That is what Ray makes of SIGTERM while it begins.
            raise KeyboardInterrupt from None
        # Ray's would end the process without a word.
        signal.signal(signal.SIGTERM, on_sigterm)
        yield


def _probe(address: str) -> None:
    """Raises ValueError where ``ray.init`` would do worse.

    A cluster that asks for a token gets it: `ray start` makes one, and `ray.init` sends it to an
    address only where RAY_AUTH_MODE says so.
    """
    done = _probed(address)
    if done.returncode == REFUSED and "Token" in done.stderr and "RAY_AUTH_MODE" not in os.environ:
        os.environ["RAY_AUTH_MODE"] = "token"
        # It was read when Ray was imported.
        ray._raylet.Config.initialize("")
        done = _probed(address)
    if done.returncode == REFUSED:
        lines = [re.sub(r"^\[.*?\] \S+: ", "", line) for line in done.stderr.splitlines()]
        said = "; ".join(dict.fromkeys(lines[-2:]))
        # Every machine of a cluster has it.
        expected = "; expected its token in ~/.ray/auth_token" if "Token" in said else ""
        raise ValueError(said + expected)
    if done.returncode:
        raise ValueError("this machine is no part of that cluster; run the command on one that is")


def _probed(address: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            [sys.executable, "-c", PROBE, address],
            capture_output=True, text=True, timeout=ANSWERS_WITHIN_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise ValueError(
            f"no cluster answers there within {ANSWERS_WITHIN_S:.0f} s; begin one with `ray start "
            "--head`, or take --ray local"
        ) from None
