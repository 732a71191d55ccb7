"""The HTTP transport of the client, which bounds an answer before anything looks at it.

A body is read up to a limit and decompressed up to the same one, and only the headers that the
client needs stay: no cookie is kept, and no text of a status line reaches a log. How long an answer
takes is bounded by the client, for the whole of it: see ``Client._send``.
"""

from __future__ import annotations

import zlib
from typing import Any

from deep_perception.describers.server.bodies import known_charset
from deep_perception.untrusted import UntrustedError
from deep_perception.untrusted.bounded import inflate
from deep_perception.untrusted.text import printable

# The compressions that a server may use; others need another package.
ACCEPTED = "gzip, deflate"
_INFLATED = {"gzip", "x-gzip", "deflate"}
# What else is a compression. Of other names (utf-8, none) the body is as it is sent.
_REFUSED = {"br", "zstd", "compress", "x-compress"}
# What the client reads of the headers. The compression is undone here.
HEADERS = ("location", "retry-after")
LONGEST_HEADER = 2000


class BoundedTransport:
    """Passes requests to a transport of httpx, and reads all of an answer of limited size."""

    def __init__(self, inner: Any, answer_type: Any, *, list_bytes: int, answer_bytes: int) -> None:
        """``answer_type``: the class Response of the library of ``inner``.

        ``list_bytes`` and ``answer_bytes``: limits for the decompressed bodies of GET and of POST.
        """
        self._inner, self._answer_type = inner, answer_type
        self._limits = {"GET": list_bytes, "POST": answer_bytes}

    async def handle_async_request(self, request: Any) -> Any:
        """Return the answer. Raises UntrustedError for one that is too large or cannot be read."""
        answer = await self._inner.handle_async_request(request)
        limit = self._limits[request.method]
        try:
            data = await _read(answer.stream, limit)
        finally:
            # The connection is closed if the body is not at its end.
            await answer.stream.aclose()
        headers = {name: answer.headers.get(name, "")[:LONGEST_HEADER] for name in HEADERS}
        # The library decodes the text of an error, with any codec of Python that a header names.
        charset = known_charset(answer.headers.get("content-type", "")[:LONGEST_HEADER])
        headers["content-type"] = f"text/plain; charset={charset}" if charset else ""
        return self._answer_type(
            answer.status_code,
            headers={name: value for name, value in headers.items() if value},
            content=_decompressed(data, answer.headers.get("content-encoding", ""), limit),
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._inner.aclose()


async def _read(stream: Any, limit: int) -> bytes:
    data = bytearray()
    async for chunk in stream:
        data += chunk
        if len(data) > limit:
            raise UntrustedError(f"the answer has more than {limit / 1e6:.0f} MB")
    return bytes(data)


def _decompressed(data: bytes, encoding: str, limit: int) -> bytes:
    names = [name.strip().lower() for name in encoding.split(",")]
    names = [name for name in names if name in _INFLATED | _REFUSED]
    if not names or not data:
        return data
    # Those within each other would each multiply the size.
    if len(names) == 1 and names[0] in _INFLATED:
        try:
            return inflate(data, limit, wbits=_wbits(data))
        except UntrustedError as error:
            raise UntrustedError(f"the answer {error}") from None
    raise UntrustedError(
        f"the answer is compressed as {printable(encoding)}, which was not asked for: let the "
        f"server send {ACCEPTED.replace(',', ' or')}, or no compression"
    )


def _wbits(data: bytes) -> int:
    """Return the format for ``zlib``: gzip and zlib by their header, else deflate without one."""
    has_header = data[:2] == b"\x1f\x8b" or (
        data[0] & 15 == 8 and int.from_bytes(data[:2], "big") % 31 == 0
    )
    return zlib.MAX_WBITS | 32 if has_header else -zlib.MAX_WBITS
