"""What listens at the address of a DAM server, found out with ``GET /health``."""

from __future__ import annotations

import http.client
import os
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from deep_perception.describers.dam.launch import Address
from deep_perception.redaction import scrub
from deep_perception.untrusted import UntrustedError
from deep_perception.untrusted.json_reader import read_json
from deep_perception.untrusted.text import printable

TIMEOUT_S = 2.0
LARGEST_BODY = 1 << 16
LONGEST_ERROR = 300


@dataclass(frozen=True, kw_only=True)
class Health:
    """The result of the request.

    ``absent``: nothing listens. ``silent``: something listens but does not answer in time, or not
    in HTTP. ``other``: a server without our /health, such as NVIDIA's. The other kinds are the
    status that our server reports.
    """

    kind: Literal["absent", "silent", "other", "loading", "ready", "failed", "stopping"]
    error: str = ""


def get_health(address: Address, token_variable: str) -> Health:
    """Send one request. It usually takes a millisecond and at most 2 s, and raises nothing."""
    connection = http.client.HTTPConnection(address.host, address.port, timeout=TIMEOUT_S)
    # The timeout of the connection is for each part that arrives, not for all of them.
    timer = threading.Timer(TIMEOUT_S, _shut_down, [connection])
    timer.daemon = True
    timer.start()
    token = os.environ.get(token_variable)
    try:
        connection.request(
            "GET", "/health", headers={"Authorization": f"Bearer {token}"} if token else {}
        )
        return health_of(connection.getresponse().read(LARGEST_BODY))
    except ConnectionRefusedError:
        return Health(kind="absent")
    except (OSError, http.client.HTTPException):
        return Health(kind="silent")
    except ValueError:  # A token that no header can carry.
        return Health(kind="other")
    finally:
        timer.cancel()
        connection.close()


def health_of(body: bytes) -> Health:
    """Return what the body of an answer says; "other" for anything that our server never says."""
    try:
        content = read_json(body)
    except UntrustedError:
        return Health(kind="other")
    kind = content.get("status") if isinstance(content, dict) else None
    if kind not in ("loading", "ready", "failed", "stopping"):
        return Health(kind="other")
    error = printable(scrub(str(content.get("error", ""))), LONGEST_ERROR)
    return Health(kind=kind, error=error)


def _shut_down(connection: http.client.HTTPConnection) -> None:
    with suppress(OSError, AttributeError):  # It may not be connected yet, or not any more.
        connection.sock.shutdown(socket.SHUT_RDWR)
