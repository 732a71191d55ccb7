"""The line to a chat server: readiness, requests, and their failures sorted.

``openai`` takes more than a second to import and is imported here only, when it is needed.
"""

from __future__ import annotations

import datetime
import email.utils
import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from deep_perception.backends import BackendUnavailable
from deep_perception.describers.server.answers import error_text
from deep_perception.describers.server.listing import Chosen, NotReady, choose
from deep_perception.describers.server.loading import Loading
from deep_perception.settings import DescriberSettings

INSTALL = "python -m pip install 'openai>=1.109'"
LISTINGS = ("/api/v1/models", "/api/v0/models", "/v1/models")
READINESS_TIMEOUT_S = CONNECT_TIMEOUT_S = 5.0
# A model that is being loaded is looked for this often.
LOADING_LOOK_S = 1.0
NOT_LOADED = re.compile(
    r"no models? (?:is |are )?loaded|model\b.*\b(?:not found|not loaded|does ?n[o']t exist|"
    r"unloaded|has crashed)",
    re.IGNORECASE,
)
# `transformers serve MODEL` asked for another one.
PINNED = re.compile(r"pinned to ", re.IGNORECASE)
# LM Studio of a path that it does not have.
WRONG_PATH = re.compile(r"unexpected endpoint", re.IGNORECASE)
BLIND = re.compile(
    r"(?:image|vision|multimodal).*(?:not supported|unsupported|not support)|"
    r"not support.*(?:image|vision|multimodal)",
    re.IGNORECASE,
)


class Unreachable(Exception):
    """The server cannot be used now, for no region; the message says why and what to do.

    ``again_s``: when it makes sense to look again, if that is known.
    """

    def __init__(self, message: str, again_s: float | None = None) -> None:
        """With what is known."""
        super().__init__(message)
        self.again_s = again_s


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
            raise BackendUnavailable(
                f"describer.url: {settings.url!r} is no http address (http://host:1234/v1 is one)"
            )
        self._root = self.url[: -len("/v1")] if self.url.endswith("/v1") else self.url
        self._local = parts.hostname in ("localhost", "127.0.0.1", "::1")
        self._token = os.environ.get(settings.api_key_env, "") if settings.api_key_env else ""
        self._api: Any = None
        self._loading = Loading(self._post_to_root, settings)

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
                raise self._not_ready(error) from None
            except Transient as error:
                if path != LISTINGS[-1] and error.wait_s is None and error.__cause__ is None:
                    continue  # an unknown path may be answered with anything
                raise Unreachable(str(error)) from None
            except Refused:
                continue
            if chosen:
                self._loading.is_loaded()
                return chosen
        if wanted:
            return Chosen(wanted)  # a server that lists nothing may still answer
        raise Unreachable("the server does not list its models: set describer.model")

    def _not_ready(self, error: NotReady) -> Unreachable:
        if error.loading:
            return Unreachable(str(error), LOADING_LOOK_S)
        if self._settings.load_model == "never":
            return Unreachable(str(error))
        if error.unloaded:
            failure = self._loading.go_on(error.unloaded)
            if failure:
                return Unreachable(failure)
            so_far = f"({self._loading.seconds:.0f} s so far)"
            return Unreachable(f"LM Studio is loading {error.unloaded!r} {so_far}", LOADING_LOOK_S)
        if not self._settings.model:
            return Unreachable(f"{error}; or set describer.model: then it is loaded")
        return Unreachable(str(error))

    async def _post_to_root(self, path: str, body: Mapping[str, object], timeout: float) -> object:
        return await self._send("post", f"{self._root}{path}", timeout, body)

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
        if WRONG_PATH.search(text) and not self.url.endswith("/v1"):
            return Unreachable(f"{message} Set describer.url to {self.url}/v1")
        if PINNED.search(text):
            return Unreachable(f"{message} Set describer.model to the one that it serves")
        return Refused(message, form, bool(BLIND.search(text)))

    def _scrub(self, text: str) -> str:
        # Some servers quote the token that they do not accept.
        return text.replace(self._token, "***") if self._token else text

    async def close(self) -> None:
        """Unload what was loaded here, and close the connections."""
        try:
            await self._loading.close()
        finally:
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
