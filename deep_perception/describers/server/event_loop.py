"""An event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

CLOSE_WITHIN_S = 5.0


class EventLoop:
    """An event loop in a thread of its own, to be used from any other thread."""

    def __init__(self, name: str) -> None:
        """Start the thread."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def submit(self, coroutine: Coroutine[Any, Any, Any]) -> Future[Any]:
        """Run a coroutine in the loop. Raises RuntimeError if the loop is closed."""
        if self._loop.is_closed():
            coroutine.close()
            raise RuntimeError("the describer is closed")
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def call(self, function: Callable[..., None], *arguments: Any) -> None:
        """Call a function in the loop; do nothing if the loop is closed."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *arguments)

    def close(self, last: Coroutine[Any, Any, Any]) -> None:
        """Cancel all tasks, run ``last`` and end the thread. A second call does nothing."""
        if self._loop.is_closed():
            last.close()
            return
        with suppress(Exception):
            self.submit(self._finish(last)).result(CLOSE_WITHIN_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CLOSE_WITHIN_S)
        if not self._thread.is_alive():
            self._loop.close()

    @staticmethod
    async def _finish(last: Coroutine[Any, Any, Any]) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await last
        await asyncio.get_running_loop().shutdown_asyncgens()
        # The loop resolves host names in the threads of its default executor.
        await asyncio.get_running_loop().shutdown_default_executor()
