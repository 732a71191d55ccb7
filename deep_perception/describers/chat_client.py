"""The line to a chat server: an event loop in its own thread, readiness, errors, breaker.

``openai`` takes more than a second to import and is imported here only, when it is needed.
"""

from __future__ import annotations

import asyncio
import datetime
import email.utils
import json
import logging
import os
import re
import threading
import time
from collections.abc import Coroutine, Mapping
from concurrent.futures import Future
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from deep_perception.backends import BackendUnavailable
from deep_perception.describers.chat_answers import error_text
from deep_perception.describers.chat_models import Chosen, NotReady, choose
from deep_perception.settings import DescriberSettings

log = logging.getLogger(__name__)

INSTALL = "python -m pip install 'openai>=1.109'"
LISTINGS = ("/api/v1/models", "/api/v0/models", "/v1/models")
READINESS_TIMEOUT_S = CONNECT_TIMEOUT_S = CLOSE_WITHIN_S = 5.0
# The breaker opens after so many regions in a row that got no answer at all ...
FAILURES = 3
# ... and lets one region try again after the first of these times, then after twice as long.
COOL_DOWN_S, LONGEST_COOL_DOWN_S = 5.0, 60.0
clock = time.monotonic
NOT_LOADED = re.compile(
    r"no models? (?:is |are )?loaded|model\b.*\b(?:not found|not loaded|does ?n[o']t exist|"
    r"unloaded|has crashed)",
    re.IGNORECASE,
)
BLIND = re.compile(
    r"(?:image|vision|multimodal).*(?:not supported|unsupported|not support)|"
    r"not support.*(?:image|vision|multimodal)",
    re.IGNORECASE,
)


class Unreachable(Exception):
    """The server cannot be used now, for no region; the message says why and what to do."""


class Transient(Exception):
    """This request got no answer; the next one may. ``wait_s``: when the server wants it."""

    def __init__(self, message: str, wait_s: float | None = None) -> None:
        """With what the server wants, None when it said nothing."""
        super().__init__(message)
        self.wait_s = wait_s


class Refused(Exception):
    """The server does not take this request, however often.

    ``form``: a simpler request may do. ``blind``: the server speaks of pictures that it cannot see.
    """

    def __init__(self, message: str, form: bool, blind: bool = False) -> None:
        """With what may help."""
        super().__init__(message)
        self.form, self.blind = form, blind


class Breaker:
    """Keeps a server that is gone from costing every region its time."""

    def __init__(self) -> None:
        """Closed: everything may go."""
        self.reason = ""
        self._failures = 0
        self._opened_s = 0.0
        self._cool_down_s = COOL_DOWN_S

    @property
    def state(self) -> str:
        """``closed``, ``open``, or ``half-open``: one request may go, and decides."""
        if not self.reason:
            return "closed"
        waited = clock() - self._opened_s >= self._cool_down_s
        return "half-open" if waited else "open"

    def succeed(self) -> None:
        """An answer came."""
        self.reason, self._failures, self._cool_down_s = "", 0, COOL_DOWN_S

    def fail(self, reason: str, *, at_once: bool = False) -> None:
        """No answer came; ``at_once``: and none will."""
        self._failures += 1
        if self.reason:
            if self.state != "half-open":
                return  # what was under way when it opened
            self._cool_down_s = min(LONGEST_COOL_DOWN_S, 2 * self._cool_down_s)
        elif not at_once and self._failures < FAILURES:
            return
        self.reason, self._opened_s = reason, clock()


class EventLoop:
    """An event loop in a thread of its own."""

    def __init__(self, name: str) -> None:
        """Start the thread."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def submit(self, coroutine: Coroutine[Any, Any, Any]) -> Future[Any]:
        """Run a coroutine in the loop. Raises RuntimeError when it is closed."""
        if self._loop.is_closed():
            coroutine.close()
            raise RuntimeError("the describer is closed")
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def close(self, last: Coroutine[Any, Any, Any]) -> None:
        """Cancel what runs, run ``last``, end the thread. A second call does nothing."""
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
        # Its threads look names up.
        await asyncio.get_running_loop().shutdown_default_executor()


class Client:
    """Requests to one server, their failures sorted into the four that there are.

    All coroutines run in one event loop.
    """

    def __init__(self, settings: DescriberSettings) -> None:
        """Import openai. Raises BackendUnavailable."""
        try:
            import openai
        except ImportError as error:
            raise BackendUnavailable(f"openai cannot be imported ({error}): {INSTALL}") from None
        self._openai = openai
        self._settings = settings
        self.url = settings.url.rstrip("/")
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BackendUnavailable(f"describer.url: {settings.url!r} is no http address")
        self._root = self.url[: -len("/v1")] if self.url.endswith("/v1") else self.url
        self._local = parts.hostname in ("localhost", "127.0.0.1", "::1")
        self._token = os.environ.get(settings.api_key_env, "") if settings.api_key_env else ""
        self._api: Any = None

    def _connect(self) -> Any:
        if self._api is None:
            openai = self._openai
            self._api = openai.AsyncOpenAI(
                base_url=self.url,
                # Without one the client would take OPENAI_API_KEY, which is not for this server.
                api_key=self._token or "none",
                max_retries=0,
                timeout=self._timeout(self._settings.region_timeout_s),
                # A proxy has no part in talking to this machine.
                http_client=openai.DefaultAsyncHttpxClient(trust_env=not self._local),
            )
        return self._api

    def _timeout(self, seconds: float) -> Any:
        return self._openai.Timeout(seconds, connect=min(seconds, CONNECT_TIMEOUT_S))

    async def choose_model(self) -> Chosen:
        """The model to ask. Raises Unreachable when there is none or no server."""
        wanted = self._settings.model
        for path in LISTINGS:
            url = f"{self.url}/models" if path == "/v1/models" else f"{self._root}{path}"
            try:
                body = await self._send("get", url, READINESS_TIMEOUT_S)
                chosen = choose(path, body, wanted)
            except NotReady as error:
                raise Unreachable(str(error)) from None
            except Transient as error:
                if path != LISTINGS[-1] and error.wait_s is None and error.__cause__ is None:
                    continue  # an unknown path may be answered with anything
                raise Unreachable(str(error)) from None
            except Refused:
                continue
            if chosen:
                return chosen
        if wanted:
            return Chosen(wanted)  # a server that lists nothing may still answer
        raise Unreachable("the server does not list its models: set describer.model")

    async def ask(self, request: Mapping[str, Any]) -> object:
        """The body of a chat completion. Raises Unreachable, Transient or Refused."""
        timeout = self._settings.region_timeout_s
        return await self._send("post", f"{self.url}/chat/completions", timeout, request)

    async def _send(
        self, method: str, url: str, timeout: float, body: Mapping[str, Any] | None = None
    ) -> object:
        openai = self._openai
        options = {"timeout": self._timeout(timeout)}
        try:
            # Not the typed call: of a broken answer it makes objects with fields missing.
            if method == "get":
                return await self._connect().get(url, cast_to=object, options=options)
            return await self._connect().post(url, cast_to=object, body=body, options=options)
        except openai.APIStatusError as error:
            raise self._status(error) from None
        except openai.APITimeoutError as error:
            raise Transient("the server did not answer in time") from error
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            raise Transient(f"no connection ({self._scrub(str(cause)) or type(cause).__name__})") from error  # fmt: skip # noqa: E501
        except (json.JSONDecodeError, UnicodeDecodeError):
            raise Transient("the answer's JSON breaks off") from None
        except Exception as error:  # the transport's own classes share no base with openai's
            raise Transient(f"{type(error).__name__}: {self._scrub(str(error))}") from error

    def _status(self, error: Any) -> Exception:
        status = int(error.status_code)
        text = self._scrub(error_text(error.body) or error_text(error.response.text))
        message = f"status {status}: {text}" if text else f"status {status}"
        if status in (401, 403):
            name = self._settings.api_key_env or "(describer.api_key_env is empty)"
            state = "is not accepted" if self._token else "is not set"
            return Unreachable(f"the server wants an API token; {name} {state} ({message})")
        if status in (408, 429, 502, 503, 504):
            return Transient(message, _retry_after(error.response.headers.get("retry-after")))
        return self.said(text, message, form=status in (400, 415, 422, 500, 501))

    def said(self, text: str, message: str = "", *, form: bool = True) -> Exception:
        """What an error's text means."""
        text = self._scrub(text)
        message = message or f"the server says: {text}"
        if NOT_LOADED.search(text):
            return Unreachable(f"{message}; load a vision model in LM Studio (Developer > Select "
                               "a model to load) or run: lms load")  # fmt: skip
        return Refused(message, form, bool(BLIND.search(text)))

    def _scrub(self, text: str) -> str:
        # Some servers quote the token that they do not accept.
        return text.replace(self._token, "***") if self._token else text

    async def close(self) -> None:
        """Close the connections."""
        api, self._api = self._api, None
        if api is not None:
            await api.close()


def _retry_after(value: str | None) -> float | None:
    if not value:
        return None
    with suppress(ValueError):
        return max(0.0, float(value))
    with suppress(ValueError, TypeError):
        moment = email.utils.parsedate_to_datetime(value)
        return max(0.0, (moment - datetime.datetime.now(moment.tzinfo)).total_seconds())
    return None
