"""The connections of the server, of which there is a limited number."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

# Beside those of the regions that wait or are described: other clients, and checks of /health.
SPARE = 64
# Descriptors of the process itself: its log, the event loop, the libraries of the GPU.
_OTHER_FILES = 128


class Connections:
    """Makes the protocol of each new connection.

    If there are too many, the connection is closed that has been idle, or has not sent a whole
    request, for the longest time. So idle ones keep nobody out.
    """

    def __init__(self, server: web.Server, regions: int) -> None:
        """``regions``: how many can wait or be described at once."""
        self._server = server
        self._limit = min(regions + SPARE, _descriptors() - _OTHER_FILES)
        self._busy: set[RequestHandler] = set()
        self._ended_at: dict[RequestHandler, float] = {}

    def new(self) -> asyncio.Protocol:
        """Return the protocol of a connection that was accepted."""
        # Those that are being closed have no transport; the oldest one comes first.
        there = [one for one in self._server.connections if one.transport is not None]
        self._ended_at = {one: self._ended_at[one] for one in there if one in self._ended_at}
        # Several are accepted before the first of them is counted, so there may be more.
        surplus = len(there) - self._limit + 1
        idle = [one for one in there if one not in self._busy]
        if surplus > len(idle):
            return _Refused()
        for one in sorted(idle, key=lambda one: self._ended_at.get(one, 0.0))[: max(0, surplus)]:
            if isinstance(one.transport, asyncio.Transport):
                # Unlike `close`, this does not wait for a client that reads no answer.
                one.transport.abort()
            one.force_close()
        return self._server()

    @contextmanager
    def busy(self, request: web.Request) -> Iterator[None]:
        """Keep the connection of a request whose body has arrived."""
        self._busy.add(request.protocol)
        try:
            yield
        finally:
            self._busy.discard(request.protocol)

    def ended(self, request: web.Request) -> None:
        """Remember that a request was answered now."""
        self._ended_at[request.protocol] = asyncio.get_running_loop().time()


class _Refused(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.abort()


def _descriptors() -> int:
    """Return how many files this process may open."""
    if sys.platform == "win32":
        return 4096
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 4096 if limit == resource.RLIM_INFINITY else max(limit, 2 * _OTHER_FILES)
