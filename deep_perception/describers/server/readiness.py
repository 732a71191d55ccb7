"""Whether a server can be used, with which of its models, and if not, why."""

from __future__ import annotations

import asyncio
import enum
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from deep_perception.describers.server.breaker import Breaker
from deep_perception.describers.server.client import (
    READINESS_TIMEOUT_S,
    Client,
    ServerUnavailable,
)
from deep_perception.describers.server.listing import ChosenModel

log = logging.getLogger(__name__)

DEFAULT_CONCURRENCY = 4
# Regions whose requests are prepared while all slots of the server are in use.
PREPARED_REGIONS = 1
# Shortest time between two checks of a lost server; the breaker may ask for a longer one.
RECHECK_S = 0.5
# Seconds in which a server has to say which models it has; it may be asked at several paths.
CHOICE_TIMEOUT_S = 2 * READINESS_TIMEOUT_S


class Phase(enum.Enum):
    """How the server is."""

    HEALTHY = "it answers, or was not asked yet"
    LOST = "it cannot be used"
    LOADING = "it is lost because it is loading its model"
    FOUND = "it was lost and lists its model again; the next region tries it"


class Readiness:
    """Chooses the model, notices when the server is lost, and finds it again.

    The coroutines and the methods ``record_…`` run in the event loop, the rest in any thread.
    """

    def __init__(self, client: Client, wanted: str, max_concurrency: int) -> None:
        """``wanted``: the model, "" for any; ``max_concurrency``: 0 for what the server reports."""
        self._client = client
        self._wanted = wanted
        self._max_concurrency = max_concurrency
        self._breaker = Breaker()
        self._phase = Phase.HEALTHY
        self._watching = False
        self._chosen: ChosenModel | None = None
        self._known_model = wanted
        self._last_problem = ""
        self._unanswered_s = 0.0
        self._slots: tuple[int, asyncio.Semaphore] | None = None
        self._intake: tuple[int, asyncio.Semaphore] | None = None

    @property
    def model(self) -> str:
        """The chosen model, else the wanted one."""
        return self._chosen.name if self._chosen else self._wanted

    @property
    def known_model(self) -> str:
        """The wanted model, else the last chosen one, which is known without the server too."""
        return self._known_model

    @property
    def problem(self) -> str:
        """Why the server is not used now, "" while it is."""
        return self._breaker.reason

    @property
    def last_problem(self) -> str:
        """Why the last region got no description."""
        return self._breaker.reason or self._last_problem

    @property
    def healthy(self) -> bool:
        """Whether all regions may be sent."""
        return self._phase is Phase.HEALTHY

    @property
    def available(self) -> bool:
        """Whether the server is expected to describe a region now."""
        return self._phase in (Phase.HEALTHY, Phase.FOUND)

    @property
    def loading(self) -> bool:
        """Whether the server is loading its model."""
        return self._phase is Phase.LOADING

    @property
    def probing(self) -> bool:
        """Whether one region has to be sent before the others, to check if the server works."""
        return self._breaker.state == "half-open"

    def usable(self, probe: bool) -> bool:
        """Whether a region may be sent now; ``probe``: it is the one that checks the server."""
        return (self.healthy or (probe and self.probing)) and self._chosen is not None

    def concurrency(self) -> int:
        """How many regions may be sent at once."""
        reported = self._chosen.parallel if self._chosen else 0
        return self._max_concurrency or reported or DEFAULT_CONCURRENCY

    @property
    def slots(self) -> asyncio.Semaphore:
        """Limits the requests at the server to ``concurrency()``."""
        count = self.concurrency()
        if self._slots is None or self._slots[0] != count:
            self._slots = count, asyncio.Semaphore(count)
        return self._slots[1]

    @property
    def intake(self) -> asyncio.Semaphore:
        """Limits the regions that are taken from all images: ``concurrency()`` and a prepared one.

        A region that is taken later can be a more important one.
        """
        count = self.concurrency() + PREPARED_REGIONS
        if self._intake is None or self._intake[0] != count:
            self._intake = count, asyncio.Semaphore(count)
        return self._intake[1]

    async def prepare(self) -> None:
        """Choose the model unless that was done, or choose it again if the server was lost."""
        if self._breaker.state == "open" or (self._chosen and not self.probing):
            return
        try:
            await self._choose(CHOICE_TIMEOUT_S)
        except ServerUnavailable as error:
            self._record_loss(error)

    async def wait_until_loaded(self, patience_s: float, info: Callable[[str], object]) -> None:
        """Wait while the server says that it is loading its model, at most ``patience_s``."""
        informed = False
        ends_s = asyncio.get_running_loop().time() + patience_s
        while self._chosen is None and asyncio.get_running_loop().time() < ends_s:
            try:
                await self._choose(CHOICE_TIMEOUT_S)
            except ServerUnavailable as error:
                if error.retry_after_s is None:
                    return
                if not informed:
                    informed = True
                    info(f"waiting: {error}")
                patience_left_s = ends_s - asyncio.get_running_loop().time()
                await asyncio.sleep(max(0.0, min(error.retry_after_s, patience_left_s)))

    async def _choose(self, timeout_s: float) -> None:
        try:
            self._chosen = await asyncio.wait_for(self._client.choose_model(), timeout_s)
        except ServerUnavailable:
            raise
        except asyncio.TimeoutError:
            raise ServerUnavailable(
                f"the server did not list its models within {timeout_s:g} s"
            ) from None
        except Exception as error:  # Whatever a server lists, a scene gets the fallback's words.
            log.debug("the list of models", exc_info=True)
            raise ServerUnavailable(
                f"the server's list of models cannot be read ({type(error).__name__})"
            ) from None
        if self._phase is Phase.LOADING:
            self._phase = Phase.LOST  # The model is loaded, and no region has tried it yet.
        self._known_model = self._wanted or self._chosen.name

    def watch(self) -> Coroutine[Any, Any, None] | None:
        """Return a coroutine that waits for a lost server; None if there is nothing to wait for."""
        if self.available or self._watching:
            return None
        self._watching = True
        return self._watch()

    async def _watch(self) -> None:
        try:
            while not self.available:
                await asyncio.sleep(max(RECHECK_S, self._breaker.wait_s))
                if self.healthy:
                    return
                await self.prepare()
                if self._chosen is not None and not self.healthy:
                    self._phase = Phase.FOUND
        finally:
            self._watching = False

    def record_answer(self) -> None:
        """Note that the server answered, whatever the answer is."""
        self._unanswered_s = 0.0
        self._breaker.succeed()
        self._phase = Phase.HEALTHY

    def record_cancelled(self, waited_s: float, patience_s: float) -> None:
        """Note that a request was cancelled before it was answered.

        If scenes always end before their requests time out, these waits are the only sign that the
        server hangs.
        """
        self._unanswered_s += waited_s / self.concurrency()
        if self.healthy and self._unanswered_s >= patience_s:
            self._record_loss(
                ServerUnavailable(f"no description within {self._unanswered_s:.0f} s")
            )
            self._unanswered_s = 0.0

    async def record_failure(self, error: Exception) -> str:
        """Note that the server gave no answer, and return the reason."""
        if not isinstance(error, ServerUnavailable):
            # While a model is loaded or after it was unloaded, the server is silent for minutes.
            # Its list of models tells the reason.
            try:
                await self._choose(READINESS_TIMEOUT_S)
            except ServerUnavailable as reason:
                error = reason
        self._record_loss(error)
        return str(error)

    def _record_loss(self, error: Exception) -> None:
        self._last_problem = str(error)
        if isinstance(error, ServerUnavailable):
            self._breaker.fail(str(error), at_once=True, retry_after_s=error.retry_after_s)
            self._chosen = None
            loading = error.retry_after_s is not None
            self._phase = Phase.LOADING if loading else Phase.LOST
        else:
            self._breaker.fail(str(error))
            self._phase = Phase.LOST if self._breaker.reason else Phase.HEALTHY
