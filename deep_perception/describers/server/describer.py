"""Words from a server, for many regions at once, and from the fallback while it cannot be used."""

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
from deep_perception.describers.server.client import Client, Transient, Unreachable
from deep_perception.describers.server.event_loop import EventLoop
from deep_perception.describers.server.protocols import Asker, Shown
from deep_perception.describers.server.readiness import Readiness
from deep_perception.describers.server.scene_queue import Results, SceneQueue, ServerUnavailable
from deep_perception.images import BgrImage
from deep_perception.regions import Description, Region
from deep_perception.settings import Settings

log = logging.getLogger(__name__)

# How often somebody who waits for words may change their mind.
TICK_S = 0.05


class ServerDescriber:
    """While the server cannot be used, the fallback describes and a warning says so."""

    name = ""

    def __init__(self, settings: Settings, client: Client, asker: Asker, model: str) -> None:
        """``model``: the wanted one, "" for any. Raises BackendUnavailable."""
        self._settings = settings.describer
        self._client = client
        self._asker = asker
        self._fallback: describers.Describer | None = None
        fallback = self._settings.fallback
        if fallback and fallback != self.name:
            self._fallback = create("describer", fallback, describers.REGISTRY, settings)
        self._cache = DescriptionCache(self._settings.cache_size, self._settings.cache_file)
        self._readiness = Readiness(client, model, self._settings.max_concurrency)
        self._loop: EventLoop | None = None
        # Regions without words from the server, of so many, and why.
        self._missed: tuple[int, int, str] | None = None
        self._asked = 0
        self._lock = threading.Lock()
        self._closed = False

    @property
    def model(self) -> str:
        """The model that is asked; each description says which one answered."""
        return self._readiness.model

    @property
    def prompt_id(self) -> str:
        """Which prompt is used: the same for the same text."""
        return self._asker.prompt_id

    @property
    def warnings(self) -> tuple[str, ...]:
        """Why the fallback is in use, as long as it is, and what else is not as set."""
        return tuple(
            filter(None, (self._without_words(), *self._asker.warnings, self._cache.warning))
        )

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
        """Whether words are to be expected of the server now."""
        return self._readiness.available

    @property
    def loading(self) -> bool:
        """Whether the server is getting its model ready."""
        return self._readiness.loading

    def describe(
        self, image: BgrImage, regions: Iterable[Region]
    ) -> Iterator[tuple[Region, Description] | None]:
        """Each region's words as they arrive. Closing the iterator cancels what is under way."""
        results: Results = queue.SimpleQueue()
        loop = self._running()
        describe = functools.partial(self._region, self._asker.looking_at(image))
        scene = SceneQueue(self._readiness, describe, regions, results, loop)
        gone: list[tuple[Region, str]] = []
        count = 0
        try:
            while True:
                try:
                    result = results.get(timeout=TICK_S)
                except queue.Empty:
                    if self._closed:
                        return
                    yield None
                    continue
                if result is None:
                    break
                count += 1
                region, words = result
                if isinstance(words, ServerUnavailable):
                    gone.append((region, str(words)))
                else:
                    yield region, words
            scene.raise_if_ours()
            yield from self._without_server(image, gone)
            self._say(len(gone), count, gone[-1][1] if gone else "")
        finally:
            # The picture is the caller's again: nothing may look at it any more.
            scene.stop()
            # Also of a scene that is given up: else nobody would find the server again.
            watch = self._readiness.watch()
            if watch is not None:
                with suppress(RuntimeError):
                    loop.submit(watch)

    def get_ready(self, say: Callable[[str], object]) -> None:
        """Wait for a model that is being loaded, describer.load_timeout_s at most."""
        self._running().submit(self._readiness.wait(self._settings.load_timeout_s, say)).result()

    def close(self) -> None:
        """End the thread and close the connections; an iterator in use ends."""
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

    def _running(self) -> EventLoop:
        with self._lock:
            if self._closed:
                raise RuntimeError("the describer is closed")
            self._loop = self._loop or EventLoop(f"describer-{self.name}")
            return self._loop

    def _without_server(
        self, image: BgrImage, gone: Sequence[tuple[Region, str]]
    ) -> Iterator[tuple[Region, Description] | None]:
        if self._fallback:
            # Together: some describers tell the regions of a scene apart.
            yield from self._fallback.describe(image, [region for region, _ in gone])
        else:
            for region, reason in gone:
                yield region, self._failed(reason, 0.0)

    def _say(self, gone: int, of: int, reason: str) -> None:
        before = self._missed
        if gone:
            self._missed = gone, of, reason
            if not before:
                log.warning(self._without_words())
        elif before and self._readiness.healthy:
            self._missed = None
            log.info("%s server %s: words come from it again", self.name, self._client.url)

    def _without_words(self) -> str:
        if self._missed is None:
            return ""
        gone, of, reason = self._missed
        part = "" if gone == of else f" for {gone} of {of} regions"
        instead = f"; {self._fallback.name!r} is used instead" if self._fallback else ""
        # A lost server is watched: what is wrong now may be something else.
        reason = self._readiness.trouble or reason
        return f"{self.name} server {self._client.url}: {reason}{instead}{part}"

    # -- in the event loop -------------------------------------------------------------------

    async def _region(
        self, show: Callable[[Region], Shown], region: Region, probe: bool
    ) -> Description | ServerUnavailable:
        """The words of one region, or why the server has none for any."""
        model = self._readiness.known_model
        if not self._readiness.usable(probe) and not (model and self._cache.may_know):
            return ServerUnavailable(self._readiness.reason)
        try:
            shown = show(region)
        except Exception as error:  # a picture that cannot be made is this region's
            return self._failed(f"{type(error).__name__}: {error}", 0.0)
        key = key_of((self.name, model, *self._asker.shaped_by), shown.pictures)
        return await self._cache.words(key, lambda: self._ask(shown, probe))

    async def _ask(self, shown: Shown, probe: bool) -> Description | ServerUnavailable:
        async with self._readiness.slots:
            return await self._ask_now(shown, probe)

    async def _ask_now(self, shown: Shown, probe: bool) -> Description | ServerUnavailable:
        readiness = self._readiness
        if not readiness.usable(probe):
            return ServerUnavailable(readiness.reason)
        self._asked += 1
        started = time.perf_counter()
        timeout = self._settings.region_timeout_s
        try:
            asking = shown.ask(readiness.model, lambda: not readiness.healthy)
            answer = await asyncio.wait_for(asking, timeout)
        except asyncio.CancelledError:
            readiness.given_up(time.perf_counter() - started, timeout)
            raise
        except asyncio.TimeoutError:
            return ServerUnavailable(
                await readiness.no_answer(Transient(f"no words within {timeout:g} s"))
            )
        except (Transient, Unreachable) as error:
            return ServerUnavailable(await readiness.no_answer(error))
        except Exception as error:  # whatever it is, it is this region's
            # The server answered, if not as wanted.
            readiness.answered()
            return self._failed(str(error) or type(error).__name__, time.perf_counter() - started)
        readiness.answered()
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
