"""What listens at the address of a DAM server, found out with ``GET /health``."""

from __future__ import annotations

import http.client
import json
import os
from dataclasses import dataclass
from typing import Literal

from deep_perception.describers.dam.launch import Address
from deep_perception.redaction import scrub

TIMEOUT_S = 2.0


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
    token = os.environ.get(token_variable)
    try:
        connection.request(
            "GET", "/health", headers={"Authorization": f"Bearer {token}"} if token else {}
        )
        content = json.loads(connection.getresponse().read(1 << 16))
        kind = content["status"]
        if kind not in ("loading", "ready", "failed", "stopping"):
            return Health(kind="other")
        return Health(kind=kind, error=scrub(str(content.get("error", ""))))
    except ConnectionRefusedError:
        return Health(kind="absent")
    except (OSError, http.client.HTTPException):
        return Health(kind="silent")
    except (ValueError, TypeError, KeyError):
        return Health(kind="other")
    finally:
        connection.close()
