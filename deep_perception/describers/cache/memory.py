"""Descriptions of regions with the same pixels, prompt and model, which are made only once."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import TypeVar

import numpy as np

from deep_perception.describers.cache import file as cache_file
from deep_perception.describers.cache.file import SharedDescriptionFile, Use
from deep_perception.images import BgrImage
from deep_perception.regions import Description

# The version of the key. It is raised if the same answer would be parsed into another description.
FORMAT = 2
# The file has this many times the entries of the memory. A replay of hours must find every
# description when it asks again; a thousand take less than a megabyte.
FILE_TIMES = 64

Result = TypeVar("Result")


def key_of(texts: Iterable[str], images: Iterable[BgrImage]) -> bytes:
    """Return the SHA-256 (32 bytes) of all that influences the description of a region.

    The images are HxWxC uint8 before they are encoded, so that a hit costs no encoding.
    """
    digest = hashlib.sha256(f"words {FORMAT}".encode())
    for text in texts:
        data = text.encode()
        digest.update(len(data).to_bytes(8, "big") + data)
    for image in images:
        digest.update(repr((image.shape, str(image.dtype))).encode())
        digest.update(np.ascontiguousarray(image).reshape(-1).data)
    return digest.digest()


class DescriptionCache:
    """Descriptions by key, in memory and in a file. All coroutines run in one event loop.

    If the file cannot be used, ``warning`` says so and only the memory is used.
    """

    def __init__(self, size: int, path: str) -> None:
        """``size``: descriptions in memory, 0 for no cache; ``path``: the file, "" for none."""
        self._size = size
        self._file: SharedDescriptionFile | None = None
        if path and size:
            self._file = SharedDescriptionFile(
                Path(path).expanduser(),
                FILE_TIMES * size,
                "descriptions are kept in memory only",
            )
        self._memory: OrderedDict[bytes, Description] = OrderedDict()
        self._pending: dict[bytes, asyncio.Future[object]] = {}
        self.hits = self.misses = 0

    @property
    def warning(self) -> str:
        """Why the file is not used, "" if it is."""
        return self._file.warning if self._file else ""

    @property
    def may_have_entries(self) -> bool:
        """Whether a look-up can find something."""
        return bool(self._memory) or (self._file is not None and not self._file.warning)

    async def get_or_make(
        self, key: bytes, make: Callable[[], Awaitable[Description | Result]]
    ) -> Description | Result:
        """Return the cached description, else the result of ``make``, which is cached if described.

        A second call with the same key while ``make`` runs waits for the result of the first one,
        whatever that is.
        """
        if not self._size:
            return await make()
        while (other := self._pending.get(key)) is not None:
            await asyncio.wait([other])
            if not other.cancelled():
                result: Description | Result = other.result()  # type: ignore[assignment]
                self.hits += _is_described(result)
                return result
        own = self._pending[key] = asyncio.get_running_loop().create_future()
        try:
            found = await self._get(key)
            if found is None:
                self.misses += 1
                result = await make()
                if isinstance(result, Description) and _is_described(result):
                    result = await self._put(key, result)
            else:
                self.hits += 1
                result = found
            own.set_result(result)
            return result
        finally:
            # After a result this does nothing. Without one, each waiting call tries for itself.
            own.cancel()
            del self._pending[key]

    async def _get(self, key: bytes) -> Description | None:
        found = self._memory.get(key)
        if found is not None:
            self._memory.move_to_end(key)
        elif self._file is not None:
            found = await self._in_time(self._file, lambda file: file.get(key))
            if found is not None:
                self._keep(key, found)
        return found

    async def _put(self, key: bytes, description: Description) -> Description:
        if self._file is not None:
            # A description that was returned before it is in the file could differ from the one
            # that the next process gets.
            written = await self._in_time(self._file, lambda file: file.put(key, description))
            description = written or description
        self._keep(key, description)
        return description

    @staticmethod
    async def _in_time(file: SharedDescriptionFile, use: Use) -> Description | None:
        """Return what a use of the file gives; a file that hangs is not used any more."""
        try:
            return await asyncio.wait_for(asyncio.wrap_future(file.submit(use)), cache_file.HANGS_S)
        except asyncio.TimeoutError:
            file.give_up_hanging()
            return None

    def _keep(self, key: bytes, description: Description) -> None:
        self._memory[key] = description
        self._memory.move_to_end(key)
        if len(self._memory) > self._size:
            self._memory.popitem(last=False)

    async def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            await asyncio.to_thread(self._file.close)


def _is_described(result: object) -> bool:
    return isinstance(result, Description) and result.status == "described"
