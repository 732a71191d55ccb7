"""The regions of one picture on their way to a server and back."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import Protocol

from deep_perception.describers.server.event_loop import CLOSE_WITHIN_S, EventLoop
from deep_perception.regions import Description, Region


class ServerUnavailable(Exception):
    """A region got no words because the server cannot be used."""


Results = queue.SimpleQueue[tuple[Region, "Description | ServerUnavailable"] | None]
Describe = Callable[[Region, bool], Awaitable["Description | ServerUnavailable"]]
"""One region's words; with True although the server was gone, to see if it is back."""


# So many regions are made ready while all places at the server are taken.
AHEAD = 1


class Server(Protocol):
    """What a scene must know of the server."""

    @property
    def probing(self) -> bool:
        """Whether one region has to go ahead of the others."""
        ...

    async def ready(self) -> None:
        """Find out whether it can be used."""
        ...

    def concurrency(self) -> int:
        """How many regions may be asked about at once."""
        ...


class SceneQueue:
    """Describes regions in an event loop; what comes of them, and None at the end, is in results.

    A thread takes a region out only when the server has a place soon: the largest goes next.
    """

    def __init__(
        self,
        server: Server,
        describe: Describe,
        regions: Iterable[Region],
        results: Results,
        loop: EventLoop,
    ) -> None:
        """Begin."""
        self._server = server
        self._describe = describe
        self._regions = regions
        self._results = results
        self._loop = loop
        self._places = threading.Semaphore(0)
        self._stopped = False
        self._over = threading.Event()
        self._task: asyncio.Task[None] | None = None
        self._taken: asyncio.Queue[Region | None] = asyncio.Queue()
        self._taker = threading.Thread(target=self._take, name="describer-regions", daemon=True)
        self._done = loop.submit(self._run())
        # However it ends, also before it began.
        self._done.add_done_callback(self._end)
        self._taker.start()

    def raise_if_ours(self) -> None:
        """Raise what went wrong in this code."""
        with suppress(CancelledError):  # closed meanwhile
            self._done.result(CLOSE_WITHIN_S)

    def stop(self) -> None:
        """Cancel what is under way."""
        self._stopped = True
        self._places.release()
        self._loop.call(self._cancel)
        self._over.wait(CLOSE_WITHIN_S)

    def _end(self, _: object) -> None:
        self._over.set()
        self._results.put(None)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _take(self) -> None:
        regions = iter(self._regions)
        try:
            while True:
                self._places.acquire()
                region = None if self._stopped else next(regions, None)
                self._loop.call(self._taken.put_nowait, region)
                if region is None:
                    return
        except Exception:
            self._loop.call(self._taken.put_nowait, None)
            raise

    async def _run(self) -> None:
        self._task = asyncio.current_task()
        tasks: set[asyncio.Task[None]] = set()
        try:
            if self._stopped:
                return
            await self._server.ready()
            # Until one has gone all the way: remembered words say nothing about the server.
            while self._server.probing:
                self._places.release()
                first = await self._taken.get()
                if first is None:
                    return
                await self._settle(first, probe=True)
            self._places.release(self._server.concurrency() + AHEAD)
            while (region := await self._taken.get()) is not None:
                task = asyncio.ensure_future(self._settle(region))
                task.add_done_callback(lambda _: self._places.release())
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _settle(self, region: Region, probe: bool = False) -> None:
        self._results.put((region, await self._describe(region, probe)))
