"""LM Studio is told to load the model that is wanted, and to unload it at the end.

POST /api/v1/models/load {"model"} answers when it is loaded, with its "instance_id"; the request
takes no unknown keys and tells of no progress. POST /api/v1/models/unload {"instance_id"}. Both
from 0.4.0; before, such a call is answered with status 200 and an error.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping

from deep_perception.describers.server.answers import error_text
from deep_perception.describers.server.listing import how_to_load
from deep_perception.settings import DescriberSettings

log = logging.getLogger(__name__)

UNLOAD_WITHIN_S = 3.0
Post = Callable[[str, Mapping[str, object], float], Awaitable[object]]
"""Path, body and seconds; the answer's body."""


class Loading:
    """Loads one model, in the background of the event loop; of several requests at once, once."""

    def __init__(self, post: Post, settings: DescriberSettings) -> None:
        """Nothing is loaded yet."""
        self._post = post
        self._settings = settings
        self._task: asyncio.Task[None] | None = None
        self._began_s = 0.0
        self._failure = ""
        self._instances: list[str] = []

    def go_on(self, model: str) -> str:
        """Begin to load a model that is not loaded; why it is not, once that has failed.

        What failed is not tried again: an engine without memory fails in minutes, and for
        everybody. "" while it is loading.
        """
        if self._task is None:
            self._began_s = time.monotonic()
            self._task = asyncio.ensure_future(self._load(model))
        elif self._task.done() and not self._failure:
            self._failure = f"LM Studio loaded model {model!r}, and now does not have it"
        return self._failure

    @property
    def seconds(self) -> float:
        """How long it has been loading."""
        return time.monotonic() - self._began_s

    def is_loaded(self) -> None:
        """The server lists it as loaded: if it is unloaded later, it may be loaded again."""
        if self._task is not None and self._task.done():
            self._task, self._failure = None, ""

    async def _load(self, model: str) -> None:
        timeout = self._settings.load_timeout_s
        log.info("LM Studio is told to load %r", model)
        try:
            posted = self._post("/api/v1/models/load", {"model": model}, timeout)
            body = await asyncio.wait_for(posted, timeout)
        except asyncio.CancelledError:
            # Closed meanwhile. The first instance of a model has its name.
            self._instances.append(model)
            raise
        except asyncio.TimeoutError:
            self._failure = (
                f"model {model!r} is not loaded after describer.load_timeout_s ({timeout:g} s)"
            )
        except Exception as error:  # each of the client's is the reason
            self._failure = (
                f"LM Studio did not load model {model!r} ({error}); {how_to_load(model)}"
            )
        else:
            answer = body if isinstance(body, Mapping) else {}
            instance = answer.get("instance_id") or answer.get("model_instance_id")
            if answer.get("status") == "loaded" and isinstance(instance, str):
                self._instances.append(instance)
                log.info("LM Studio loaded %r in %.0f s", model, self.seconds)
                return
            reason = error_text(body)
            if "unexpected endpoint" in reason.lower():
                reason = "it cannot be told to before its version 0.4.0"
            self._fail(model, reason)

    def _fail(self, model: str, reason: str) -> None:
        self._failure = f"LM Studio did not load model {model!r} ({reason}); {how_to_load(model)}"

    async def close(self) -> None:
        """Unload what was loaded here, if that is wanted."""
        if self._settings.load_model != "load+unload":
            return
        while self._instances:
            instance = self._instances.pop()
            try:
                body = {"instance_id": instance}
                posted = self._post("/api/v1/models/unload", body, UNLOAD_WITHIN_S)
                answer = await asyncio.wait_for(posted, UNLOAD_WITHIN_S)
                if isinstance(answer, Mapping) and answer.get("error"):
                    log.warning("LM Studio did not unload %r: %s", instance, error_text(answer))
            except Exception as error:  # nobody waits for it any more
                log.warning("LM Studio did not unload %r: %s", instance, error or "no answer")
