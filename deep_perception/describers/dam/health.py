"""What listens at the address of a DAM server, found out with ``GET /health``."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import threading
from dataclasses import dataclass
from typing import Literal

from deep_perception.describers.dam.launch import Address
from deep_perception.describers.dam.listeners import foreign_user
from deep_perception.redaction import scrub
from deep_perception.untrusted.json_reader import read_json
from deep_perception.untrusted.text import printable

TIMEOUT_S = 2.0


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
    end: threading.Timer | None = None
    token = os.environ.get(token_variable)
    try:
        connection.connect()
        # A server that sends a byte now and then would be waited for without an end.
        end = threading.Timer(TIMEOUT_S, _disconnect, [connection.sock])
        end.daemon = True
        end.start()
        connection.request(
            "GET", "/health", headers={"Authorization": f"Bearer {token}"} if token else {}
        )
        content = read_json(connection.getresponse().read(1 << 16))
        kind = content["status"]
        if kind not in ("loading", "ready", "failed", "stopping"):
            return Health(kind="other")
        return Health(kind=kind, error=printable(scrub(str(content.get("error", ""))), 300))
    except ConnectionRefusedError:
        return Health(kind="absent")
    except (OSError, http.client.HTTPException):
        return Health(kind="silent")
    except (ValueError, TypeError, KeyError, AttributeError):
        return Health(kind="other")
    finally:
        if end:
            end.cancel()
        connection.close()


def _disconnect(connection: socket.socket) -> None:
    # The other thread may close it at the same time.
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
