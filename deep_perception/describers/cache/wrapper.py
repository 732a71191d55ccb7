"""Words of a describer that is not from this package, remembered as those of chat and dam are."""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
import queue
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from deep_perception.describers import Describer
from deep_perception.describers.cache.file import DescriptionFile, WordsThread
from deep_perception.describers.cache.memory import FILE_TIMES, key_of
from deep_perception.images import BgrImage
from deep_perception.regions import Description, Region
from deep_perception.settings import Settings
from deep_perception.settings.options import flatten

log = logging.getLogger(__name__)

Found = TypeVar("Found")
# Of this package's own, each remembers what it has to.
OURS = "deep_perception."


def remembering(describer: Describer, settings: Settings) -> Describer:
    """The describer, with a memory if it is somebody's own class and words are remembered."""
    words = settings.describer
    own = not type(describer).__module__.startswith(OURS)
    return Remembering(describer, settings) if own and words.cache_size else describer


class Remembering(Describer):
    """Asks another describer only for what it has not described before.

    The same are words of the same picture, region, settings and source code of the class's module.
    """

    def __init__(self, describer: Describer, settings: Settings) -> None:
        self._describer = describer
        self.name = describer.name
        kind = type(describer)
        self._shaped_by = (
            f"{kind.__module__}:{kind.__qualname__}",
            _source(kind),
            json.dumps(
                {
                    name: value
                    for name, value in flatten(settings).items()
                    if name.startswith("describer.") and not name.startswith("describer.cache_")
                }
            ),
        )
        self._path = Path(settings.describer.cache_file).expanduser()
        self._file = WordsThread(self._path, FILE_TIMES * settings.describer.cache_size)
        self._usable = True
        self._asked = self._hits = 0

    def __getattr__(self, name: str) -> Any:
        # What a describer may have beside the protocol: warnings, available, get_ready ...
        return getattr(self._describer, name)

    @property
    def model(self) -> str:  # type: ignore[override]
        """It may be known only when it is loaded."""
        return self._describer.model

    @property
    def statistics(self) -> Mapping[str, int]:
        """Counts since the start."""
        return {"regions_asked": self._asked, "cache_hits": self._hits}

    def describe(
        self, image: BgrImage, regions: Iterable[Region]
    ) -> Iterator[tuple[Region, Description] | None]:
        """The remembered words, and those of the describer as they come."""
        digest = hashlib.sha256(np.ascontiguousarray(image).reshape(-1).data).hexdigest()
        known: queue.SimpleQueue[tuple[Region, Description]] = queue.SimpleQueue()
        keys: dict[int, bytes] = {}

        def unknown() -> Iterator[Region]:
            for region in regions:
                key = self._key(digest, region)
                words = self._with_file(lambda file, key=key: file.get(key))  # type: ignore[misc]
                if words is None:
                    self._asked += 1
                    keys[region.index] = key
                    yield region
                else:
                    self._hits += 1
                    known.put((region, words))

        described = iter(self._describer.describe(image, unknown()))
        try:
            for item in described:
                while not known.empty():
                    yield known.get()
                yield item and (item[0], self._remember(keys.get(item[0].index), item[1]))
        except Exception:
            # These are words all the same.
            while not known.empty():
                yield known.get()
            raise
        finally:
            if hasattr(described, "close"):
                described.close()
        while not known.empty():
            yield known.get()

    def _key(self, digest: str, region: Region) -> bytes:
        shape = f"{digest} {region.index} {region.point} {region.rle.size} {region.rle.counts}"
        return key_of((*self._shaped_by, self.model, shape), [region.mask.astype(np.uint8)])

    def _remember(self, key: bytes | None, words: Description) -> Description:
        if key is None or words.status != "described" or words.describer != self.name:
            return words
        return self._with_file(lambda file: file.put(key, words)) or words

    def _with_file(self, use: Callable[[DescriptionFile], Found]) -> Found | None:
        if self._usable:
            try:
                return self._file.submit(use).result()
            except (sqlite3.Error, OSError) as error:
                self._usable = False
                log.warning(
                    "describer.cache_file: %s cannot be used (%s); no words are remembered",
                    self._path,
                    error,
                )
        return None

    def close(self) -> None:
        """Close the file, and the describer."""
        try:
            self._file.close()
        finally:
            self._describer.close()


def _source(kind: type) -> str:
    try:
        return Path(inspect.getsourcefile(kind) or "").read_text(encoding="utf-8")
    except (OSError, TypeError, ValueError):
        return ""
