"""Words from LM Studio, or any other OpenAI-compatible server, for many regions at once."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from pathlib import Path

from deep_perception import describers
from deep_perception.backends import BackendUnavailable, create
from deep_perception.describers import chat_client
from deep_perception.describers.chat_client import Breaker, Client, EventLoop, Unreachable
from deep_perception.describers.chat_models import Chosen
from deep_perception.describers.chat_question import Question
from deep_perception.images import Picture
from deep_perception.regions import Description, Region
from deep_perception.settings import Settings

log = logging.getLogger(__name__)

DEFAULT_CONCURRENCY = 4
PROMPTS = Path(__file__).parents[1] / "prompts"


class _Gone(Exception):
    """A region got no words because the server cannot be used."""


class Chat:
    """While the server cannot be used, the fallback describes and a warning says so."""

    name = "chat"

    def __init__(self, settings: Settings) -> None:
        """Read the prompt and import the client; the server is asked with the first picture.

        Raises BackendUnavailable.
        """
        self._settings = settings.describer
        prompt = read_prompt(self._settings.prompt)
        self.prompt_id = hashlib.sha256(prompt.encode()).hexdigest()[:12]
        self._client = Client(self._settings)
        self._question = Question(self._client, self._settings, prompt)
        self._fallback: describers.Describer | None = None
        fallback = self._settings.fallback
        if fallback and fallback != self.name:
            self._fallback = create("describer", fallback, describers.REGISTRY, settings)
        self._breaker = Breaker()
        self._chosen: Chosen | None = None
        self._loop: EventLoop | None = None
        self._warning = self._reason = ""
        self._lock = threading.Lock()
        self._closed = False

    @property
    def model(self) -> str:
        """The model that is asked; each description says which one answered."""
        return self._chosen.model if self._chosen else self._settings.model

    @property
    def warnings(self) -> tuple[str, ...]:
        """Why the fallback is in use, as long as it is."""
        return (self._warning,) if self._warning else ()

    def describe(
        self, image: Picture, regions: Sequence[Region]
    ) -> Iterator[tuple[Region, Description]]:
        """Each region's words as they arrive; the largest regions are asked first.

        Closing the iterator cancels what is under way.
        """
        if not regions:
            return
        results: queue.SimpleQueue[tuple[Region, Description | _Gone] | None] = queue.SimpleQueue()
        over = threading.Event()
        scene = self._running().submit(self._scene(image, regions, results, over))
        gone: list[tuple[Region, str]] = []
        try:
            while (result := results.get()) is not None:
                region, words = result
                if isinstance(words, _Gone):
                    gone.append((region, str(words)))
                else:
                    yield region, words
            with suppress(CancelledError):  # closed meanwhile
                scene.result(chat_client.CLOSE_WITHIN_S)  # raises what went wrong in ours
            yield from self._without_server(image, gone)
            self._say(len(gone), len(regions), gone[-1][1] if gone else "")
        finally:
            # The picture is the caller's again: nothing may look at it any more.
            scene.cancel()
            over.wait(chat_client.CLOSE_WITHIN_S)

    def close(self) -> None:
        """End the thread and close the connections; an iterator in use ends."""
        with self._lock:
            self._closed = True
            loop, self._loop = self._loop, None
        if loop:
            loop.close(self._client.close())
        if self._fallback:
            self._fallback.close()

    def _running(self) -> EventLoop:
        with self._lock:
            if self._closed:
                raise RuntimeError("the describer is closed")
            self._loop = self._loop or EventLoop("describer-chat")
            return self._loop

    def _without_server(
        self, image: Picture, gone: Sequence[tuple[Region, str]]
    ) -> Iterator[tuple[Region, Description]]:
        if self._fallback:
            # Together: some describers tell the regions of a scene apart.
            yield from self._fallback.describe(image, [region for region, _ in gone])
        else:
            for region, reason in gone:
                yield region, self._failed(reason, 0.0)

    def _say(self, gone: int, of: int, reason: str) -> None:
        before, self._warning = self._warning, ""
        if gone:
            part = "" if gone == of else f" for {gone} of {of} regions"
            instead = f"; {self._fallback.name!r} is used instead" if self._fallback else ""
            self._warning = f"chat server {self._client.url}: {reason}{instead}{part}"
            if not before:
                log.warning(self._warning)
        elif before:
            log.info("chat server %s: words come from it again", self._client.url)

    # -- in the event loop -------------------------------------------------------------------

    async def _scene(
        self,
        image: Picture,
        regions: Sequence[Region],
        results: queue.SimpleQueue[tuple[Region, Description | _Gone] | None],
        over: threading.Event,
    ) -> None:
        waiting = deque(sorted(regions, key=lambda region: -region.area))
        unsettled = {region.index: region for region in waiting}

        async def settle() -> None:
            region = waiting.popleft()
            words = await self._region(image, region, probing)
            # At the deadline an answer may come in the same moment as the cancellation.
            if unsettled.pop(region.index, None):
                results.put((region, words))

        probing = True

        async def work() -> None:
            while waiting:
                await settle()

        tasks: list[asyncio.Task[None]] = []
        try:
            deadline = self._settings.scene_deadline_s or None
            tasks.append(asyncio.ensure_future(self._ready_then(settle)))
            started = time.monotonic()
            await asyncio.wait(tasks, timeout=deadline)
            if tasks[0].done():
                tasks[0].result()
                probing = False
                left = max(0.0, deadline - (time.monotonic() - started)) if deadline else None
                tasks = [asyncio.ensure_future(work()) for _ in range(self._concurrency())]
                await asyncio.wait(tasks, timeout=left)
                for task in tasks:
                    if task.done():
                        task.result()
            while unsettled:
                _, region = unsettled.popitem()
                pending = Description(status="pending", describer=self.name, model=self.model)
                results.put((region, pending))
        finally:
            waiting.clear()
            try:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            finally:
                over.set()
                results.put(None)

    async def _ready_then(self, settle: Callable[[], Awaitable[None]]) -> None:
        """Choose the model; after a failure let one region go ahead of the others."""
        probing = self._breaker.state == "half-open"
        if self._breaker.state == "open" or (self._chosen and not probing):
            return
        try:
            self._chosen = await self._client.choose_model()
        except Unreachable as error:
            self._chosen = None
            self._reason = str(error)
            self._breaker.fail(self._reason, at_once=True)
            return
        if probing:
            await settle()

    def _concurrency(self) -> int:
        said = self._chosen.parallel if self._chosen else 0
        return self._settings.max_concurrency or said or DEFAULT_CONCURRENCY

    async def _region(self, image: Picture, region: Region, probe: bool) -> Description | _Gone:
        usable = self._breaker.state == "closed" or (probe and self._breaker.state == "half-open")
        if not usable or self._chosen is None:
            return _Gone(self._breaker.reason or self._reason)
        started = time.perf_counter()
        timeout = self._settings.region_timeout_s
        try:
            answer = await asyncio.wait_for(
                self._question.ask(image, region, self._chosen.model, self._is_open), timeout
            )
        except (asyncio.TimeoutError, chat_client.Transient, Unreachable) as error:
            reason = str(error) or f"no words within {timeout:g} s"
            self._breaker.fail(reason, at_once=isinstance(error, Unreachable))
            self._reason = reason
            if isinstance(error, Unreachable):
                self._chosen = None
            return _Gone(reason)
        except Exception as error:  # whatever it is, it is this region's
            # The server answered, if not as wanted.
            self._breaker.succeed()
            return self._failed(str(error) or type(error).__name__, time.perf_counter() - started)
        self._breaker.succeed()
        return Description(
            status="described",
            label=answer.label,
            text=answer.text,
            attributes=answer.attributes,
            describer=self.name,
            model=answer.model or self.model,
            prompt_id=self.prompt_id,
            latency_s=time.perf_counter() - started,
            truncated=answer.truncated,
        )

    def _is_open(self) -> bool:
        return self._breaker.state != "closed"

    def _failed(self, reason: str, latency_s: float) -> Description:
        return Description(
            status="failed", describer=self.name, model=self.model, prompt_id=self.prompt_id,
            latency_s=latency_s, error=reason,
        )  # fmt: skip


def read_prompt(name: str) -> str:
    """The text of a prompt of the package or of a file. Raises BackendUnavailable."""
    own = "/" in name or name.endswith(".txt")
    path = Path(name).expanduser() if own else PROMPTS / f"{name}.txt"
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        known = ", ".join(sorted(p.stem for p in PROMPTS.glob("*.txt") if p.stem not in FORMS))
        raise BackendUnavailable(
            f"describer.prompt: {path} cannot be read ({error}); there is {known}, or give the "
            "path of a text file"
        ) from None
    if not text:
        raise BackendUnavailable(f"describer.prompt: {path} is empty")
    return text


FORMS = ("json", "text")
