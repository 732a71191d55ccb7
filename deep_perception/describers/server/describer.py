"""The base of the describers that ask a server, for many regions at once.

While the server cannot be used, the fallback describes.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress

from deep_perception import describers
from deep_perception.backends import create
from deep_perception.describers.cache.memory import DescriptionCache, key_of
from deep_perception.describers.server.client import Client, ServerUnavailable, TransientError
from deep_perception.describers.server.event_loop import EventLoop
from deep_perception.describers.server.protocols import RegionRequest, RequestBuilder
from deep_perception.describers.server.readiness import Readiness
from deep_perception.describers.server.scene_queue import NotDescribed, Results, SceneQueue
from deep_perception.images import BgrImage
from deep_perception.regions import Description, Region
from deep_perception.settings import Settings

log = logging.getLogger(__name__)

# Seconds between two chances of the caller to close the iterator of ``describe``.
CANCEL_CHECK_S = 0.05


class ServerDescriber:
    """Describes with a server; while that cannot be used, with the fallback and a warning."""

    name = ""
    concurrent_images = True

    def __init__(
        self, settings: Settings, client: Client, requests: RequestBuilder, model: str
    ) -> None:
        """``model``: the wanted model, "" for any. Raises BackendUnavailable."""
        self._settings = settings.describer
        self._client = client
        self._requests = requests
        self._fallback: describers.Describer | None = None
        fallback = self._settings.fallback
        if fallback and fallback != self.name:
            self._fallback = create("describer", fallback, describers.REGISTRY, settings)
        self._cache = DescriptionCache(self._settings.cache_size, self._settings.cache_file)
        self._readiness = Readiness(client, model, self._settings.max_concurrency)
        self._loop: EventLoop | None = None
        # Regions of the last scene without a description of the server, all its regions, and why.
        self._missed: tuple[int, int, str] | None = None
        self._asked = 0
        self._lock = threading.Lock()
        self._closed = False

    @property
    def model(self) -> str:
        """The model that is asked; a description names the model that answered."""
        return self._readiness.model

    @property
    def prompt_id(self) -> str:
        """See ``SupportsPromptId``."""
        return self._requests.prompt_id

    @property
    def warnings(self) -> tuple[str, ...]:
        """Why the fallback is used, settings that the server does not support, and an unusable
        cache file."""
        warnings = (self._server_warning(), *self._requests.warnings, self._cache.warning)
        return tuple(filter(None, warnings))

    @property
    def statistics(self) -> Mapping[str, int]:
        """Counts since the start."""
        return {
            "regions_asked": self._asked,
            "cache_hits": self._cache.hits,
            "cache_misses": self._cache.misses,
        }

    @property
    def available(self) -> bool:
        """Whether the server is expected to describe a region now."""
        return self._readiness.available

    @property
    def loading(self) -> bool:
        """Whether the server is loading its model."""
        return self._readiness.loading

    def describe(
        self, image: BgrImage, regions: Iterable[Region]
    ) -> Iterator[tuple[Region, Description] | None]:
        """Yield each description as it arrives. Closing the iterator cancels the requests."""
        results: Results = queue.SimpleQueue()
        loop = self._start_loop()
        describe = functools.partial(self._describe_region, self._requests.for_image(image))
        scene = SceneQueue(self._readiness, describe, regions, results, loop)
        missed: list[tuple[Region, str]] = []
        count = 0
        try:
            while True:
                try:
                    result = results.get(timeout=CANCEL_CHECK_S)
                except queue.Empty:
                    if self._closed:
                        return
                    yield None
                    continue
                if result is None:
                    break
                count += 1
                region, description = result
                if isinstance(description, NotDescribed):
                    missed.append((region, description.reason))
                else:
                    yield region, description
            scene.raise_internal_error()
            yield from self._describe_missed(image, missed)
            self._update_warning(len(missed), count, missed[-1][1] if missed else "")
        finally:
            # The caller may reuse the image: no request may read it any more.
            scene.stop()
            # A cancelled scene starts the watch too: no other scene may come to find the server.
            watch = self._readiness.watch()
            if watch is not None:
                with suppress(RuntimeError):
                    loop.submit(watch)

    def get_ready(self, info: Callable[[str], object]) -> None:
        """Wait for a model that is being loaded, at most describer.load_timeout_s."""
        waiting = self._readiness.wait_until_loaded(self._settings.load_timeout_s, info)
        self._start_loop().submit(waiting).result()

    def close(self) -> None:
        """End the thread and close the connections; a running ``describe`` ends."""
        with self._lock:
            self._closed = True
            loop, self._loop = self._loop, None
        if loop:
            loop.close(self._close())
        if self._fallback:
            self._fallback.close()

    async def _close(self) -> None:
        try:
            await self._cache.close()
        finally:
            await self._client.close()

    def _start_loop(self) -> EventLoop:
        with self._lock:
            if self._closed:
                raise RuntimeError("the describer is closed")
            self._loop = self._loop or EventLoop(f"describer-{self.name}")
            return self._loop

    def _describe_missed(
        self, image: BgrImage, missed: Sequence[tuple[Region, str]]
    ) -> Iterator[tuple[Region, Description] | None]:
        if self._fallback:
            # All in one call: some describers make the labels of a scene differ.
            yield from self._fallback.describe(image, [region for region, _ in missed])
        else:
            for region, reason in missed:
                yield region, self._failed(reason, 0.0)

    def _update_warning(self, missed: int, count: int, reason: str) -> None:
        before = self._missed
        if missed:
            self._missed = missed, count, reason
            if not before:
                log.warning(self._server_warning())
        elif before and self._readiness.healthy:
            self._missed = None
            log.info("%s server %s describes regions again", self.name, self._client.url)

    def _server_warning(self) -> str:
        if self._missed is None:
            return ""
        missed, count, reason = self._missed
        part = "" if missed == count else f" for {missed} of {count} regions"
        instead = f"; {self._fallback.name!r} is used instead" if self._fallback else ""
        # The watch may have found another problem since then.
        reason = self._readiness.problem or reason
        return f"{self.name} server {self._client.url}: {reason}{instead}{part}"

    # -- in the event loop -------------------------------------------------------------------

    async def _describe_region(
        self, make_request: Callable[[Region], RegionRequest], region: Region, probe: bool
    ) -> Description | NotDescribed:
        model = self._readiness.known_model
        if not self._readiness.usable(probe) and not (model and self._cache.may_have_entries):
            return NotDescribed(self._readiness.last_problem)
        try:
            request = make_request(region)
        except Exception as error:  # An image that cannot be made fails this region only.
            return self._failed(f"{type(error).__name__}: {error}", 0.0)
        key = key_of((self.name, model, *self._requests.cache_key_texts), request.images)
        return await self._cache.get_or_make(key, lambda: self._ask_in_slot(request, probe))

    async def _ask_in_slot(self, request: RegionRequest, probe: bool) -> Description | NotDescribed:
        async with self._readiness.slots:
            return await self._ask(request, probe)

    async def _ask(self, request: RegionRequest, probe: bool) -> Description | NotDescribed:
        readiness = self._readiness
        if not readiness.usable(probe):
            return NotDescribed(readiness.last_problem)
        self._asked += 1
        started = time.perf_counter()
        timeout = self._settings.region_timeout_s
        try:
            sending = request.send(readiness.model, lambda: not readiness.healthy)
            answer = await asyncio.wait_for(sending, timeout)
        except asyncio.CancelledError:
            readiness.record_cancelled(time.perf_counter() - started, timeout)
            raise
        except asyncio.TimeoutError:
            failure = TransientError(f"no description within {timeout:g} s")
            return NotDescribed(await readiness.record_failure(failure))
        except (TransientError, ServerUnavailable) as error:
            return NotDescribed(await readiness.record_failure(error))
        except Exception as error:  # Any other failure is of this region only.
            readiness.record_answer()
            return self._failed(str(error) or type(error).__name__, time.perf_counter() - started)
        readiness.record_answer()
        return Description(
            status="described",
            label=answer.label,
            text=answer.text,
            attributes=answer.attributes,
            describer=self.name,
            model=answer.model or readiness.model,
            prompt_id=self.prompt_id,
            latency_s=time.perf_counter() - started,
            truncated=answer.truncated,
        )

    def _failed(self, reason: str, latency_s: float) -> Description:
        return Description(
            status="failed", describer=self.name, model=self.model, prompt_id=self.prompt_id,
            latency_s=latency_s, error=reason,
        )  # fmt: skip
