"""The connection to a chat server: its models, requests, and the four kinds of failure.

The package ``openai`` takes more than a second to import, so it is imported by the constructor.
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
from deep_perception.describers.server.listing import ChosenModel, NoUsableModel, choose_model
from deep_perception.describers.server.loading import ModelLoader
from deep_perception.describers.server.refused_requests import takes_no_images
from deep_perception.settings import DescriberSettings

INSTALL = "python -m pip install 'openai>=1.109'"
LISTINGS = ("/api/v1/models", "/api/v0/models", "/v1/models")
READINESS_TIMEOUT_S = CONNECT_TIMEOUT_S = 5.0
# Seconds between two checks of a model that is being loaded.
LOADING_CHECK_S = 1.0
NOT_LOADED = re.compile(
    r"no models? (?:is |are )?loaded|model\b.*\b(?:not found|not loaded|does ?n[o']t exist|"
    r"unloaded|has crashed)",
    re.IGNORECASE,
)
# `transformers serve MODEL` answers this to a request for another model.
PINNED = re.compile(r"pinned to ", re.IGNORECASE)
# LM Studio answers this to a request for an unknown path.
WRONG_PATH = re.compile(r"unexpected endpoint", re.IGNORECASE)


class ServerUnavailable(Exception):
    """The server cannot be used now, for any region; the message says why and what to do.

    ``retry_after_s``: seconds until another attempt makes sense, None if unknown.
    """

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        """Store the message and the delay."""
        super().__init__(message)
        self.retry_after_s = retry_after_s


class TransientError(Exception):
    """This request got no answer, but the next one may.

    ``retry_after_s``: the pause that the server asks for, None if it asks for none.
    """

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        """Store the message and the delay."""
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RequestRefused(Exception):
    """The server does not accept this request and would not accept it later.

    ``simpler_may_work``: a request with fewer options may be accepted. ``no_vision``: the message
    says that the model takes no images.
    """

    def __init__(self, message: str, *, simpler_may_work: bool, no_vision: bool = False) -> None:
        """Store the message and the two hints."""
        super().__init__(message)
        self.simpler_may_work, self.no_vision = simpler_may_work, no_vision


class Client:
    """Sends requests to one server and sorts its failures into exceptions.

    All coroutines run in one event loop.
    """

    def __init__(self, settings: DescriberSettings) -> None:
        """Import openai and check the address. Raises BackendUnavailable."""
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
        self._loader = ModelLoader(self._post_to_root, settings)

    def _connect(self) -> Any:
        if self._api is None:
            openai = self._openai
            self._api = openai.AsyncOpenAI(
                base_url=self.url,
                # Without a key the library would send OPENAI_API_KEY to a foreign server.
                api_key=self._token or "none",
                max_retries=0,
                timeout=self._timeout(self._settings.region_timeout_s),
                # Requests to this machine do not go through a proxy.
                http_client=openai.DefaultAsyncHttpxClient(trust_env=not self._local),
            )
        return self._api

    def _timeout(self, seconds: float) -> Any:
        return self._openai.Timeout(seconds, connect=min(seconds, CONNECT_TIMEOUT_S))

    async def choose_model(self) -> ChosenModel:
        """Return the model to use. Raises ServerUnavailable if there is no model or no server."""
        wanted = self._settings.model
        for path in LISTINGS:
            url = f"{self.url}/models" if path == "/v1/models" else f"{self._root}{path}"
            try:
                body = await self._send("get", url, READINESS_TIMEOUT_S)
                chosen = choose_model(path, body, wanted)
            except NoUsableModel as error:
                raise self._unavailable(error) from None
            except TransientError as error:
                if path != LISTINGS[-1] and error.retry_after_s is None and error.__cause__ is None:
                    continue  # Some servers answer an unknown path with an error of their own.
                raise ServerUnavailable(str(error)) from None
            except RequestRefused:
                continue
            if chosen:
                self._loader.confirm_loaded()
                return chosen
        if wanted:
            return ChosenModel(wanted)  # A server that lists no models may still have this one.
        raise ServerUnavailable("the server does not list its models: set describer.model")

    def _unavailable(self, error: NoUsableModel) -> ServerUnavailable:
        if error.loading:
            return ServerUnavailable(str(error), LOADING_CHECK_S)
        if self._settings.load_model == "never":
            return ServerUnavailable(str(error))
        if error.unloaded:
            failure = self._loader.start_loading(error.unloaded)
            if failure:
                return ServerUnavailable(failure)
            return ServerUnavailable(
                f"LM Studio is loading {error.unloaded!r} ({self._loader.elapsed_s:.0f} s so far)",
                LOADING_CHECK_S,
            )
        if not self._settings.model:
            return ServerUnavailable(f"{error}; or set describer.model: then it is loaded")
        return ServerUnavailable(str(error))

    async def _post_to_root(self, path: str, body: Mapping[str, object], timeout: float) -> object:
        return await self._send("post", f"{self._root}{path}", timeout, body)

    async def complete(self, request: Mapping[str, Any]) -> object:
        """Return the body of a chat completion.

        Raises ServerUnavailable, TransientError or RequestRefused.
        """
        timeout = self._settings.region_timeout_s
        return await self._send("post", f"{self.url}/chat/completions", timeout, request)

    async def _send(
        self, method: str, url: str, timeout: float, body: Mapping[str, Any] | None = None
    ) -> object:
        openai = self._openai
        options = {"timeout": self._timeout(timeout)}
        try:
            # The typed call would make objects with missing fields from a broken answer.
            if method == "get":
                return await self._connect().get(url, cast_to=object, options=options)
            return await self._connect().post(url, cast_to=object, body=body, options=options)
        except openai.APIStatusError as error:
            raise self._error_of_status(error) from None
        except openai.APITimeoutError as error:
            raise TransientError("the server did not answer in time") from error
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            reason = self._without_token(str(cause)) or type(cause).__name__
            raise TransientError(f"no connection ({reason})") from error
        except (json.JSONDecodeError, UnicodeDecodeError):
            raise TransientError("the answer's JSON breaks off") from None
        except Exception as error:  # The transport's exceptions share no base class with openai's.
            raise TransientError(
                f"{type(error).__name__}: {self._without_token(str(error))}"
            ) from error

    def _error_of_status(self, error: Any) -> Exception:
        status = int(error.status_code)
        text = self._without_token(error_text(error.body) or error_text(error.response.text))
        message = f"status {status}: {text}" if text else f"status {status}"
        if takes_no_images(text):
            return self.error_from(text, message)
        if status in (401, 403):
            name = self._settings.api_key_env or "(describer.api_key_env is empty)"
            state = "is not accepted" if self._token else "is not set"
            return ServerUnavailable(f"the server wants an API token; {name} {state} ({message})")
        if status == 402:
            return ServerUnavailable(f"the server wants to be paid ({message})")
        if status in (408, 425, 429, 502, 503, 504, 529) or 520 <= status <= 524:
            return TransientError(
                message, _retry_after_s(error.response.headers.get("retry-after"))
            )
        return self.error_from(text, message, simpler_may_work=status in (400, 415, 422, 500, 501))

    def error_from(
        self, text: str, message: str = "", *, simpler_may_work: bool = True
    ) -> ServerUnavailable | RequestRefused:
        """Return the exception for an error's text; ``message`` replaces its default message."""
        text = self._without_token(text)
        message = message or f"the server says: {text}"
        if takes_no_images(text):
            return RequestRefused(message, simpler_may_work=False, no_vision=True)
        if NOT_LOADED.search(text):
            return ServerUnavailable(
                f"{message}; load a vision model in LM Studio (Developer > Select a model to load) "
                "or run: lms load"
            )
        if WRONG_PATH.search(text) and not self.url.endswith("/v1"):
            return ServerUnavailable(f"{message} Set describer.url to {self.url}/v1")
        if PINNED.search(text):
            return ServerUnavailable(f"{message} Set describer.model to the one that it serves")
        return RequestRefused(
            message,
            simpler_may_work=simpler_may_work,
        )

    def _without_token(self, text: str) -> str:
        # Some servers quote a token that they do not accept.
        return text.replace(self._token, "***") if self._token else text

    async def close(self) -> None:
        """Unload the model if this client loaded it, and close the connections."""
        try:
            await self._loader.close()
        finally:
            api, self._api = self._api, None
            if api is not None:
                await api.close()


def _retry_after_s(value: str | None) -> float | None:
    """Return the seconds of a Retry-After header, which is a number or a date."""
    if not value:
        return None
    with suppress(ValueError):
        return max(0.0, float(value))
    with suppress(ValueError, TypeError):
        moment = email.utils.parsedate_to_datetime(value)
        return max(0.0, (moment - datetime.datetime.now(moment.tzinfo)).total_seconds())
    return None
