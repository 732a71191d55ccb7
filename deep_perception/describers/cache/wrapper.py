"""A cache around describers from other packages; those of this package have one of their own."""

from __future__ import annotations

import hashlib
import inspect
import json
import queue
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from deep_perception.describers import (
    Describer,
    SupportsGetReady,
    SupportsLoading,
    SupportsPromptId,
    SupportsWarnings,
    describes_instantly,
    is_available,
)
from deep_perception.describers.cache.file import DescriptionFile, SharedDescriptionFile
from deep_perception.describers.cache.memory import FILE_TIMES, key_of
from deep_perception.describers.cache.rows import ANY
from deep_perception.images import BgrImage
from deep_perception.regions import Description, Region
from deep_perception.settings import Settings
from deep_perception.settings.options import flatten

OWN_PACKAGE = "deep_perception."


def with_cache(describer: Describer, settings: Settings) -> Describer:
    """Return a cached describer if it comes from another package and the cache is enabled."""
    if settings.describer.cache_size and not type(describer).__module__.startswith(OWN_PACKAGE):
        return CachedDescriber(describer, settings)
    return describer


class CachedDescriber(Describer):
    """Passes only regions to another describer that it has not described before.

    A description is cached for the same image, region, settings and source code of the describer's
    module. The optional protocols of describers are passed on.
    """

    def __init__(self, describer: Describer, settings: Settings) -> None:
        """Open no file yet."""
        self._describer = describer
        self.name = describer.name
        describer_class = type(describer)
        self._key_texts = (
            f"{describer_class.__module__}:{describer_class.__qualname__}",
            _source(describer_class),
            json.dumps(
                {
                    name: value
                    for name, value in flatten(settings).items()
                    if name.startswith("describer.") and not name.startswith("describer.cache_")
                }
            ),
        )
        self._file = SharedDescriptionFile(
            Path(settings.describer.cache_file).expanduser(),
            FILE_TIMES * settings.describer.cache_size,
            "descriptions are not cached",
            ANY,
        )
        self._asked = self._hits = 0

    @property
    def model(self) -> str:  # type: ignore[override]
        """The model of the describer, which may be known only after it was loaded."""
        return self._describer.model

    @property
    def available(self) -> bool:
        """See ``SupportsAvailability``."""
        return is_available(self._describer)

    @property
    def instant(self) -> bool:
        """See ``SupportsInstantDescriptions``."""
        return describes_instantly(self._describer)

    @property
    def loading(self) -> bool:
        """See ``SupportsLoading``."""
        return isinstance(self._describer, SupportsLoading) and self._describer.loading

    def get_ready(self, info: Callable[[str], object]) -> None:
        """See ``SupportsGetReady``."""
        if isinstance(self._describer, SupportsGetReady):
            self._describer.get_ready(info)

    @property
    def prompt_id(self) -> str:
        """See ``SupportsPromptId``."""
        describer = self._describer
        return describer.prompt_id if isinstance(describer, SupportsPromptId) else ""

    @property
    def warnings(self) -> tuple[str, ...]:
        """See ``SupportsWarnings``."""
        describer = self._describer
        return describer.warnings if isinstance(describer, SupportsWarnings) else ()

    @property
    def statistics(self) -> Mapping[str, int]:
        """Counts since the start."""
        return {"regions_asked": self._asked, "cache_hits": self._hits}

    def describe(
        self, image: BgrImage, regions: Iterable[Region]
    ) -> Iterator[tuple[Region, Description] | None]:
        """Yield the cached descriptions, and those of the describer as they arrive."""
        digest = hashlib.sha256(np.ascontiguousarray(image).reshape(-1).data).hexdigest()
        cached: queue.SimpleQueue[tuple[Region, Description]] = queue.SimpleQueue()
        keys: dict[int, bytes] = {}

        def uncached() -> Iterator[Region]:
            for region in regions:
                key = self._key(digest, region)
                description = self._get(key)
                if description is None:
                    self._asked += 1
                    keys[region.index] = key
                    yield region
                else:
                    self._hits += 1
                    cached.put((region, description))

        described = iter(self._describer.describe(image, uncached()))
        try:
            for item in described:
                while not cached.empty():
                    yield cached.get()
                yield item and (item[0], self._put(keys.get(item[0].index), item[1]))
        except Exception:
            # A describer that fails costs no cached description.
            while not cached.empty():
                yield cached.get()
            raise
        finally:
            if hasattr(described, "close"):
                described.close()
        while not cached.empty():
            yield cached.get()

    def _key(self, digest: str, region: Region) -> bytes:
        shape = f"{digest} {region.index} {region.point} {region.rle.size} {region.rle.counts}"
        return key_of((*self._key_texts, self.model, shape), [region.mask.astype(np.uint8)])

    def _get(self, key: bytes) -> Description | None:
        return self._file.wait_for(lambda file: file.get(key))

    def _put(self, key: bytes | None, description: Description) -> Description:
        if key is None or description.status != "described" or description.describer != self.name:
            return description

        def put(file: DescriptionFile) -> Description:
            return file.put(key, description)

        return self._file.wait_for(put) or description

    def close(self) -> None:
        """Close the file and the describer."""
        try:
            self._file.close()
        finally:
            self._describer.close()


def _source(describer_class: type) -> str:
    try:
        return Path(inspect.getsourcefile(describer_class) or "").read_text(encoding="utf-8")
    except (OSError, TypeError, ValueError):
        return ""
