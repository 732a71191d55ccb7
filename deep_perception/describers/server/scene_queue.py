"""The regions of one scene on their way to a server and back."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass

from deep_perception.describers.server.event_loop import CLOSE_WITHIN_S, EventLoop
from deep_perception.describers.server.readiness import Readiness
from deep_perception.regions import Description, Region


@dataclass(frozen=True)
class NotDescribed:
    """The result of a region without a description because the server cannot be used."""

    reason: str


Results = queue.SimpleQueue["tuple[Region, Description | NotDescribed] | None"]
Describe = Callable[[Region, bool], Awaitable["Description | NotDescribed"]]
"""Describes one region; the flag says that the region probes a server that was lost."""


class SceneQueue:
    """Describes regions in an event loop and puts each result, and None at the end, into a queue.

    A thread takes a region from the iterable only when the server has a slot for it soon: the
    iterable decides at that moment which region is next.
    """

    def __init__(
        self,
        readiness: Readiness,
        describe: Describe,
        regions: Iterable[Region],
        results: Results,
        loop: EventLoop,
    ) -> None:
        """Start to describe."""
        self._readiness = readiness
        self._describe = describe
        self._regions = regions
        self._results = results
        self._loop = loop
        # One for each region that the reader may take.
        self._slots = threading.Semaphore(0)
        self._stopped = False
        self._ended = threading.Event()
        self._task: asyncio.Task[None] | None = None
        self._waiting: asyncio.Queue[Region | None] = asyncio.Queue()
        self._reader = threading.Thread(target=self._read, name="describer-regions", daemon=True)
        self._done = loop.submit(self._run())
        # The callback is called in any case, also if the coroutine is cancelled before it starts.
        self._done.add_done_callback(self._end)
        self._reader.start()

    def raise_internal_error(self) -> None:
        """Raise the exception of this class's own code, if there was one."""
        with suppress(CancelledError):  # The describer was closed.
            self._done.result(CLOSE_WITHIN_S)

    def stop(self) -> None:
        """Cancel all requests and wait for their end."""
        self._stopped = True
        self._slots.release()
        self._loop.call(self._cancel)
        self._ended.wait(CLOSE_WITHIN_S)

    def _end(self, _: object) -> None:
        self._ended.set()
        self._results.put(None)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _read(self) -> None:
        regions = iter(self._regions)
        try:
            while True:
                self._slots.acquire()
                region = None if self._stopped else next(regions, None)
                self._loop.call(self._waiting.put_nowait, region)
                if region is None:
                    return
        except Exception:
            self._loop.call(self._waiting.put_nowait, None)
            raise

    async def _run(self) -> None:
        self._task = asyncio.current_task()
        tasks: set[asyncio.Task[None]] = set()
        try:
            if self._stopped:
                return
            await self._readiness.prepare()
            # A cached description is no sign of a working server, so the probing goes on until a
            # request was sent.
            while self._readiness.probing:
                self._slots.release()
                first = await self._waiting.get()
                if first is None:
                    return
                await self._put_result(first, probe=True)
            # Other images may be described at the same time: all share the server's slots.
            intake = self._readiness.intake
            while (region := await self._take(intake)) is not None:
                task = asyncio.ensure_future(self._put_result(region))
                task.add_done_callback(lambda _: intake.release())
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _take(self, intake: asyncio.Semaphore) -> Region | None:
        await intake.acquire()
        region = None
        try:
            self._slots.release()
            region = await self._waiting.get()
            return region
        finally:
            if region is None:
                intake.release()

    async def _put_result(self, region: Region, probe: bool = False) -> None:
        self._results.put((region, await self._describe(region, probe)))
