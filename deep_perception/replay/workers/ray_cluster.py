"""The Ray cluster to replay on: a running one, or a temporary one of this machine."""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import ray

from deep_perception.backends import BackendUnavailable
from deep_perception.replay.workers.start_folder import imports_from_working_folder, neutral_folder

LOCAL = "local"
# Seconds. A cluster answers sooner, and Ray alone would try for much longer.
ANSWER_WITHIN_S = 30.0
REFUSED = 3
QUIET: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
# Only messages go through the object store, for which Ray would reserve a third of the memory.
OBJECT_STORE_BYTES = 100_000_000
# Without a cluster, or on a machine outside of it, Ray tries for minutes or ends the process.
# Therefore another process tries first.
PROBE = f"""
import sys
sys.path = [folder for folder in sys.path if folder]  # without the working folder
import ray
try:
    ray.init(sys.argv[1], **{QUIET})
except Exception as error:
    sys.stderr.write(" ".join(str(error).split()))
    sys.exit({REFUSED})
"""


def unavailable(address: str, reason: str) -> BackendUnavailable:
    """Return the error for an ``address`` at which nothing can be replayed."""
    return BackendUnavailable(f"--ray {address}: {' '.join(reason.split())}")


@contextmanager
def cluster(address: str, cpus: int | None) -> Iterator[None]:
    """Connect to the cluster at ``address``; "local" is a temporary one with ``cpus``.

    Raises BackendUnavailable.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # This package reports errors itself, in one line.
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    # No setting keeps Ray from printing about dead actors on the terminal.
    ray._private.worker._worker_logs_enabled = False
    on_sigterm = signal.getsignal(signal.SIGTERM)
    with ExitStack() as stack:
        try:
            if address == LOCAL:
                # The folder takes Ray's log files.
                folder = stack.enter_context(
                    tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True)
                )
                stack.callback(ray.shutdown)
                _require_token()
                _init(
                    LOCAL, num_cpus=cpus, object_store_memory=OBJECT_STORE_BYTES,
                    include_dashboard=False, _temp_dir=folder,
                )  # fmt: skip
            else:
                _probe(address)
                stack.callback(ray.shutdown)
                _init(address)
        except Exception as error:  # Ray raises a bare one if its start takes too long.
            raise unavailable(address, str(error)) from None
        except SystemExit:
            # Ray turns a SIGTERM during its start into a SystemExit.
            raise KeyboardInterrupt from None
        # Ray's own handler would end the process without a message.
        signal.signal(signal.SIGTERM, on_sigterm)
        yield


def _init(address: str, **options: Any) -> None:
    # Ray lets all actors import from the working folder, before all others.
    with nullcontext() if imports_from_working_folder() else neutral_folder():
        ray.init(address, **options, **QUIET)


def _require_token() -> None:
    """Keep strangers out of a temporary cluster, whose ports run code and are open to the network.

    Ray requires a token unless the variable of a user's other cluster says otherwise.
    """
    if os.environ.pop("RAY_AUTH_MODE", "token").lower() != "token":
        # Ray has read the variable at its import.
        ray._raylet.Config.initialize("")


def _probe(address: str) -> None:
    """Raise ValueError if ``ray.init`` would hang or end this process.

    Sends the token to a cluster that requires one: `ray start` creates it, but `ray.init` sends it
    to an address only if RAY_AUTH_MODE is set.
    """
    done = _run_probe(address)
    if done.returncode == REFUSED and "Token" in done.stderr and "RAY_AUTH_MODE" not in os.environ:
        os.environ["RAY_AUTH_MODE"] = "token"
        # Ray has read the variable at its import.
        ray._raylet.Config.initialize("")
        done = _run_probe(address)
    if done.returncode == REFUSED:
        lines = [re.sub(r"^\[.*?\] \S+: ", "", line) for line in done.stderr.splitlines()]
        reason = "; ".join(dict.fromkeys(lines[-2:]))
        # Every machine of the cluster has this file.
        expected = "; expected its token in ~/.ray/auth_token" if "Token" in reason else ""
        raise ValueError(reason + expected)
    if done.returncode:
        raise ValueError("this machine is not part of that cluster; run the command on one that is")


def _run_probe(address: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            [sys.executable, "-c", PROBE, address],
            capture_output=True, text=True, timeout=ANSWER_WITHIN_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise ValueError(
            f"no cluster answers there within {ANSWER_WITHIN_S:.0f} s; start one with `ray start "
            "--head`, or use --ray local"
        ) from None
