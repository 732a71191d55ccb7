"""Receive the bodies of requests: each one in time, and all together within a limit of memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from deep_perception.dam_server.errors import RequestError
from deep_perception.untrusted.text import printable

# In bytes. A 4K photograph as a PNG in base64 takes about half of it.
MAX_BODY = 64 * 2**20
# Of all bodies that are being received, or wait to be decoded.
MAX_BYTES = 4 * MAX_BODY
# Seconds from the headers to the end of a body: a large photograph at 2 Mbit/s takes as long.
BODY_S = 30.0


class Arrivals:
    """The bodies in memory. All methods are called in the event loop."""

    def __init__(self) -> None:
        self._receiving: dict[asyncio.Task[None], bytearray] = {}
        self._received = 0

    @asynccontextmanager
    async def body_of(self, request: web.Request) -> AsyncIterator[bytearray]:
        """Yield the whole body of a request, which counts as memory up to the end of the block.

        Raises RequestError if it is too large, or does not arrive in time; and if the bodies of all
        clients are too large together, for the largest one that has not arrived completely.
        """
        _check_size(request.content_length or 0)
        body = bytearray()
        receiving = asyncio.ensure_future(self._receive(request, body))
        self._receiving[receiving] = body
        try:
            done, _ = await asyncio.wait({receiving}, timeout=BODY_S)
        finally:
            receiving.cancel()
            del self._receiving[receiving]
        if not done:
            raise RequestError(
                408, "request_timeout", f"the request did not arrive within {BODY_S:.0f} s"
            )
        if receiving.cancelled():
            raise RequestError(
                503, "too_much_at_once", "the requests of all clients are too large together", 5
            )
        try:
            receiving.result()
        except web.RequestPayloadError as error:
            raise RequestError(
                400, "bad_body", f"the body is broken: {printable(error)}"
            ) from error
        size = len(body)
        self._received += size
        try:
            yield body
        finally:
            self._received -= size

    async def _receive(self, request: web.Request, body: bytearray) -> None:
        async for block in request.content.iter_any():
            _check_size(len(body) + len(block))
            body += block
            while self._received + sum(map(len, self._receiving.values())) > MAX_BYTES:
                # Whoever sends little is not refused because of others who send much.
                largest = max(self._receiving, key=lambda task: len(self._receiving[task]))
                self._receiving[largest].clear()
                largest.cancel()
                if largest is asyncio.current_task():
                    await asyncio.sleep(0)  # The cancellation arrives here.


def _check_size(size: int) -> None:
    if size > MAX_BODY:
        raise RequestError(413, "request_too_large", f"the request is larger than {MAX_BODY} bytes")
