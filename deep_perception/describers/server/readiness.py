"""Whether a server can be used, with which of its models, and if not, why."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from deep_perception.describers.server.breaker import Breaker
from deep_perception.describers.server.client import Client, Unreachable
from deep_perception.describers.server.listing import Chosen

DEFAULT_CONCURRENCY = 4
# A lost server is looked for when the breaker allows it, and never more often than this.
LOOK_AGAIN_S = 0.5


class Readiness:
    """Chooses the model, notices when the server is lost, and finds it again.

    Its coroutines and ``lost`` are for the event loop, the rest for any thread.
    """

    def __init__(self, client: Client, wanted: str, max_concurrency: int) -> None:
        """``wanted``: the model, "" for any; ``max_concurrency``: 0 for what the server says."""
        self._client = client
        self._wanted = wanted
        self._max_concurrency = max_concurrency
        self._breaker = Breaker()
        self._chosen: Chosen | None = None
        self._last = wanted
        self._reason = ""
        self._watched = self._back = False
        self._unanswered_s = 0.0
        self.loading = False
        self._slots: tuple[int, asyncio.Semaphore] | None = None

    @property
    def model(self) -> str:
        """The model that is asked, or wanted."""
        return self._chosen.model if self._chosen else self._wanted

    @property
    def known_model(self) -> str:
        """The wanted model, else the one asked last: known when the server is away, too."""
        return self._last

    @property
    def trouble(self) -> str:
        """Why nothing is asked now, "" when it is."""
        return self._breaker.reason

    @property
    def reason(self) -> str:
        """Why the last region got no words."""
        return self._breaker.reason or self._reason

    @property
    def healthy(self) -> bool:
        """Whether everything may be asked."""
        return self._breaker.state == "closed"

    @property
    def available(self) -> bool:
        """Whether words are to be expected of the server now."""
        return self._back or self.healthy

    @property
    def probing(self) -> bool:
        """Whether one region has to go ahead of the others, to see if the server is back."""
        return self._breaker.state == "half-open"

    def usable(self, probe: bool) -> bool:
        """Whether a region may be asked about now."""
        return (self.healthy or (probe and self.probing)) and self._chosen is not None

    def concurrency(self) -> int:
        """How many regions may be asked about at once."""
        said = self._chosen.parallel if self._chosen else 0
        return self._max_concurrency or said or DEFAULT_CONCURRENCY

    @property
    def slots(self) -> asyncio.Semaphore:
        """So many questions may be at the server."""
        count = self.concurrency()
        if self._slots is None or self._slots[0] != count:
            self._slots = count, asyncio.Semaphore(count)
        return self._slots[1]

    async def ready(self) -> None:
        """Choose the model, if that is not done or the server was gone."""
        if self._breaker.state == "open" or (self._chosen and not self.probing):
            return
        try:
            await self._choose()
        except Unreachable as error:
            self._lost(error)

    async def wait(self, patience_s: float, say: Callable[[str], object]) -> None:
        """While the server says that it is loading, wait for it, this long at most."""
        said = False
        ends_s = asyncio.get_running_loop().time() + patience_s
        while self._chosen is None and asyncio.get_running_loop().time() < ends_s:
            try:
                await self._choose()
            except Unreachable as error:
                if error.again_s is None:
                    return
                if not said:
                    said = True
                    say(f"waiting: {error}")
                await asyncio.sleep(error.again_s)

    async def _choose(self) -> None:
        self._chosen = await self._client.choose_model()
        self.loading = False
        self._last = self._wanted or self._chosen.model

    def watch(self) -> Coroutine[Any, Any, None] | None:
        """What looks for a lost server until it is there; None when that is not to be begun."""
        if self.available or self._watched:
            return None
        self._watched = True
        return self._watch()

    async def _watch(self) -> None:
        try:
            while not self._back:
                await asyncio.sleep(max(LOOK_AGAIN_S, self._breaker.wait_s))
                if self.healthy:
                    return
                await self.ready()
                self._back = self._chosen is not None
        finally:
            self._watched = False

    def answered(self) -> None:
        """The server gave an answer, whatever it was."""
        self._unanswered_s = 0.0
        self._breaker.succeed()

    def given_up(self, waited_s: float, patience_s: float) -> None:
        """A question was taken back before it was answered.

        Scenes that end before their questions do would hide for ever that a server hangs.
        """
        self._unanswered_s += waited_s / self.concurrency()
        if self.healthy and self._unanswered_s >= patience_s:
            self._lost(Unreachable(f"no words within {self._unanswered_s:.0f} s"))
            self._unanswered_s = 0.0

    async def no_answer(self, error: Exception) -> str:
        """The server gave none; returns the reason."""
        if not isinstance(error, Unreachable):
            # A model that is being loaded, or was unloaded, is silent for minutes: ask.
            try:
                await self._choose()
            except Unreachable as why:
                error = why
        self._lost(error)
        return str(error)

    def _lost(self, error: Exception) -> None:
        self.loading = isinstance(error, Unreachable) and error.again_s is not None
        if isinstance(error, Unreachable):
            self._breaker.fail(str(error), at_once=True, again_s=error.again_s)
            self._chosen = None
        else:
            self._breaker.fail(str(error))
        self._reason, self._back = str(error), False
