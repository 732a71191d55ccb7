"""Words that are remembered of regions with the same pixels, prompt and model."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import sqlite3
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import TypeVar

import numpy as np

from deep_perception.describers.cache.file import DescriptionFile, WordsThread
from deep_perception.images import BgrImage
from deep_perception.regions import Description

log = logging.getLogger(__name__)

# To be raised when the same answer would be read into other words.
FORMAT = 1
# The file is for replays of hours, of which each word has to be there when it is asked for again;
# a thousand words take less than a megabyte.
FILE_TIMES = 64

Other = TypeVar("Other")


def key_of(texts: Iterable[str], pictures: Iterable[BgrImage]) -> bytes:
    """The 32 bytes that stand for all that shapes the words of a region.

    The pictures are HxWxC uint8, before they are encoded: a hit costs no encoding.
    """
    digest = hashlib.sha256(f"words {FORMAT}".encode())
    for text in texts:
        data = text.encode()
        digest.update(len(data).to_bytes(8, "big") + data)
    for picture in pictures:
        digest.update(repr((picture.shape, str(picture.dtype))).encode())
        digest.update(np.ascontiguousarray(picture).reshape(-1).data)
    return digest.digest()


class DescriptionCache:
    """Descriptions by key, in memory and in a file; all coroutines run in one event loop.

    A file that cannot be used is one warning, and then the memory alone is used.
    """

    def __init__(self, size: int, path: str) -> None:
        """``size``: descriptions in memory, 0: none at all; ``path``: the file, "": none."""
        self._size = size
        self._path = Path(path).expanduser()
        self._file = WordsThread(self._path, FILE_TIMES * size) if path and size else None
        self._usable = True
        self._memory: OrderedDict[bytes, Description] = OrderedDict()
        self._under_way: dict[bytes, asyncio.Future[object]] = {}
        self.warning = ""
        self.hits = self.misses = 0

    @property
    def may_know(self) -> bool:
        """Whether looking for a key may find something."""
        return bool(self._memory) or (self._file is not None and self._usable)

    async def words(
        self, key: bytes, make: Callable[[], Awaitable[Description | Other]]
    ) -> Description | Other:
        """The remembered words, else what ``make`` gives; remembered when described.

        A key that is asked for while it is made is not made twice: it gets the same, good or not.
        """
        if not self._size:
            return await make()
        while (other := self._under_way.get(key)) is not None:
            await asyncio.wait([other])
            if not other.cancelled():
                made: Description | Other = other.result()  # type: ignore[assignment]
                self.hits += _good(made)
                return made
        ours = self._under_way[key] = asyncio.get_running_loop().create_future()
        try:
            found = await self._get(key)
            if found is None:
                self.misses += 1
                made = await make()
                if isinstance(made, Description) and _good(made):
                    made = await self._put(key, made)
            else:
                self.hits += 1
                made = found
            ours.set_result(made)
            return made
        finally:
            # Cancelled, or a bug: whoever waits tries it for itself.
            ours.cancel()
            del self._under_way[key]

    async def _get(self, key: bytes) -> Description | None:
        found = self._memory.get(key)
        if found is not None:
            self._memory.move_to_end(key)
            return found
        found = await self._with_file(lambda file: file.get(key))
        if found is not None:
            self._remember(key, found)
        return found

    async def _put(self, key: bytes, words: Description) -> Description:
        # Waited for: words that are out and then asked for again would be others.
        words = await self._with_file(lambda file: file.put(key, words)) or words
        self._remember(key, words)
        return words

    def _remember(self, key: bytes, words: Description) -> None:
        self._memory[key] = words
        self._memory.move_to_end(key)
        if len(self._memory) > self._size:
            self._memory.popitem(last=False)

    async def _with_file(self, use: Callable[[DescriptionFile], Other]) -> Other | None:
        if self._file is None or not self._usable:
            return None
        try:
            return await asyncio.wrap_future(self._file.submit(use))
        except (sqlite3.Error, OSError) as error:
            if self._usable:
                self._usable = False
                self.warning = (
                    f"describer.cache_file: {self._path} cannot be used ({error}); words are "
                    "remembered in memory only"
                )
                log.warning(self.warning)
            return None

    async def close(self) -> None:
        """Close the file."""
        file, self._file = self._file, None
        if file is not None:
            await asyncio.to_thread(file.close)


def _good(made: object) -> bool:
    return isinstance(made, Description) and made.status == "described"
