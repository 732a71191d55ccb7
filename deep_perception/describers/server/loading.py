"""Make LM Studio load the wanted model, and unload it at the end.

``POST /api/v1/models/load {"model"}`` answers when the model is loaded, with its "instance_id"; the
request takes no unknown keys and reports no progress. ``POST /api/v1/models/unload
{"instance_id"}`` unloads it. Both exist from version 0.4.0; an older LM Studio answers such a call
with status 200 and an error.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping

from deep_perception.describers.server.answers import error_text
from deep_perception.describers.server.listing import how_to_load, model_name
from deep_perception.settings import DescriberSettings

log = logging.getLogger(__name__)

UNLOAD_WITHIN_S = 3.0
Post = Callable[[str, Mapping[str, object], float], Awaitable[object]]
"""Takes path, body and timeout in seconds, and returns the body of the answer."""


class ModelLoader:
    """Loads one model in the background of the event loop, once for any number of requests."""

    def __init__(self, post: Post, settings: DescriberSettings) -> None:
        """Load nothing yet."""
        self._post = post
        self._settings = settings
        self._task: asyncio.Task[None] | None = None
        self._started_s = 0.0
        self._failure = ""
        self._instances: list[str] = []

    def start_loading(self, model: str) -> str:
        """Start to load a model that is not loaded, unless that was done; return why it failed.

        The result is "" while the model is being loaded. A failed attempt is not repeated: an
        engine without enough memory needs minutes to fail, and disturbs its other users.
        """
        if self._task is None:
            self._started_s = time.monotonic()
            self._task = asyncio.ensure_future(self._load(model))
        elif self._task.done() and not self._failure:
            self._failure = f"LM Studio loaded model {model!r}, and now does not have it"
        return self._failure

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start of loading."""
        return time.monotonic() - self._started_s

    def confirm_loaded(self) -> None:
        """Note that the server lists the model as loaded: if it is unloaded, it is loaded again."""
        if self._task is not None and self._task.done():
            self._task, self._failure = None, ""

    async def _load(self, model: str) -> None:
        timeout = self._settings.load_timeout_s
        log.info("LM Studio is asked to load %r", model)
        try:
            request = self._post("/api/v1/models/load", {"model": model}, timeout)
            body = await asyncio.wait_for(request, timeout)
        except asyncio.CancelledError:
            # The describer was closed. The first instance of a model has the model's name.
            self._instances.append(model)
            raise
        except asyncio.TimeoutError:
            self._failure = (
                f"model {model!r} is not loaded after describer.load_timeout_s ({timeout:g} s)"
            )
        except Exception as error:  # Every exception of the client says the reason.
            self._fail(model, str(error))
        else:
            answer = body if isinstance(body, Mapping) else {}
            names = (model_name(answer.get(key)) for key in ("instance_id", "model_instance_id"))
            instance = next(filter(None, names), "")
            if answer.get("status") == "loaded" and instance:
                self._instances.append(instance)
                log.info("LM Studio loaded %r in %.0f s", model, self.elapsed_s)
                return
            reason = error_text(body)
            if "unexpected endpoint" in reason.lower():
                reason = "LM Studio can load a model on request only from version 0.4.0"
            self._fail(model, reason)

    def _fail(self, model: str, reason: str) -> None:
        self._failure = f"LM Studio did not load model {model!r} ({reason}); {how_to_load(model)}"

    async def close(self) -> None:
        """Unload the models that were loaded here if describer.load_model asks for that."""
        if self._settings.load_model != "load+unload":
            return
        while self._instances:
            instance = self._instances.pop()
            try:
                request = self._post(
                    "/api/v1/models/unload", {"instance_id": instance}, UNLOAD_WITHIN_S
                )
                answer = await asyncio.wait_for(request, UNLOAD_WITHIN_S)
                if isinstance(answer, Mapping) and answer.get("error"):
                    log.warning("LM Studio did not unload %r: %s", instance, error_text(answer))
            except Exception as error:  # A model that stays loaded must not prevent the end.
                log.warning("LM Studio did not unload %r: %s", instance, error or "no answer")
