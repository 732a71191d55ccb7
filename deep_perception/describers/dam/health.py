"""What listens at the address of a DAM server, found out with ``GET /health``."""

from __future__ import annotations

import http.client
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Literal

from deep_perception.describers.dam.launch import Address
from deep_perception.describers.dam.listeners import foreign_user
from deep_perception.redaction.output import clean_line
from deep_perception.untrusted import UntrustedError
from deep_perception.untrusted.json_reader import read_json
from deep_perception.untrusted.text import REASON

TIMEOUT_S = 2.0
LARGEST_BODY = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Health:
    """The result of the request.

    ``absent``: nothing listens. ``silent``: something listens but does not answer in time, or not
    in HTTP. ``foreign``: another user of this machine listens, and nothing was sent. ``other``: a
    server without our /health, such as NVIDIA's. The other kinds are the status that our server
    reports.
    """

    kind: Literal["absent", "silent", "foreign", "other", "loading", "ready", "failed", "stopping"]
    error: str = ""


def get_health(address: Address, token_variable: str) -> Health:
    """Send one request. It usually takes a millisecond and at most 4 s, and raises nothing."""
    if foreign_user(address.host, address.port) is not None:
        return Health(kind="foreign")
    connection = http.client.HTTPConnection(address.host, address.port, timeout=TIMEOUT_S)
    token = os.environ.get(token_variable)
    try:
        connection.connect()
        # The timeout of the connection is for each part that arrives, not for all of them.
        with _shut_down_after(TIMEOUT_S, connection.sock):
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
    error = clean_line(content.get("error", ""), REASON)
    return Health(kind=kind, error=error)


@contextmanager
def _shut_down_after(seconds: float, connected: socket.socket) -> Iterator[None]:
    def shut_down() -> None:
        with suppress(OSError):  # It is closed already.
            connected.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, shut_down)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
