"""The connection to a chat server: its models, requests, and the four kinds of failure.

The package ``openai`` takes more than a second to import, so it is imported by the constructor.

The file is longer than others so that one page shows every way in which a request can end.
"""

from __future__ import annotations

import asyncio
import base64
import datetime
import email.utils
import importlib
import math
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from deep_perception.backends import BackendUnavailable
from deep_perception.describers.server.answers import error_text
from deep_perception.describers.server.bodies import decode_body, decode_text, is_page, page_title
from deep_perception.describers.server.endpoints import api_paths, root_of
from deep_perception.describers.server.listing import ChosenModel, NoUsableModel, choose_model
from deep_perception.describers.server.loading import ModelLoader
from deep_perception.describers.server.refused_requests import (
    may_be_due_to_image,
    takes_no_images,
)
from deep_perception.describers.server.routing import RoutingError, certificates, proxy_for
from deep_perception.describers.server.transport import ACCEPTED, BoundedTransport
from deep_perception.redaction import register, scrub, scrub_content
from deep_perception.redaction.addresses import AddressError, parse_address, shown
from deep_perception.redaction.output import clean_line, guard_loggers
from deep_perception.redaction.tokens import (
    TokenError,
    is_shown,
    read_token,
    refused_token_hint,
)
from deep_perception.settings import DescriberSettings
from deep_perception.untrusted import UntrustedError
from deep_perception.untrusted.text import REASON

INSTALL = "python -m pip install 'openai>=1.109'"
# Lists of models in LM Studio's own API, the newer one first; every server has /v1/models.
OWN_LISTINGS = ("/api/v1/models", "/api/v0/models")
MODELS = "/v1/models"
# Characters of an error that are read; a message quotes some of them.
LONGEST_ERROR = 20_000
# Decompressed bytes that are read of an answer. Gateways list hundreds of models with all that they
# know of each (OpenRouter: 0.6 MB). A stream has some 300 bytes for each token.
LIST_BYTES, ANSWER_BYTES, BYTES_PER_TOKEN = 2 << 20, 1 << 20, 512
# The longest pause that a server may ask for: it must not silence a camera for longer.
LONGEST_PAUSE_S = 300.0
# What these log at level info or debug contains the address, whose query may hold a key.
LIBRARIES = (
    "openai", "openai._base_client", "httpx", "httpx2", "httpcore.connection", "httpcore.http11",
    "httpcore.proxy", "httpcore2.connection", "httpcore2.http11", "httpcore2.proxy",
)  # fmt: skip
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
# Servers answer this to a request for an unknown path, LM Studio with status 200.
WRONG_PATH = re.compile(
    r"unexpected endpoint|^\W*(?:404\W*)?(?:(?:file|page|path|url|route|endpoint|resource) )?"
    r"(?:was )?not found\W*$|404 page not found|cannot (?:post|get) /|invalid url \((?:post|get)"
    r"|method not allowed"
    r"|no (?:such )?(?:route|endpoint|path|handler)\b"
    r"|(?:unknown|unrecognized|unsupported) (?:request )?(?:url|path|route|endpoint)"
    r"|no_such_path|the server has GET /health",
    re.IGNORECASE,
)
# What a server that expects https says to a request in plain text.
WANTS_TLS = re.compile(r"http request to an https|plain http request was sent to https", re.I)


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
    ``connected``: whether anything answered.
    """

    def __init__(
        self, message: str, retry_after_s: float | None = None, *, connected: bool = True
    ) -> None:
        """Store the message, the delay and whether there is a server."""
        super().__init__(message)
        self.retry_after_s, self.connected = retry_after_s, connected


class UnreadableAnswer(TransientError):
    """The answer is too large, or compressed in a way that nobody asked for."""


class WrongPath(Exception):
    """The server has no such path; the message is what it says."""


class RequestRefused(Exception):
    """The server does not accept this request and would not accept it later.

    ``simpler_may_work``: a request with fewer options may be accepted. ``no_vision``: the message
    says that the model takes no images. ``may_be_image``: it may be about this image only.
    """

    def __init__(
        self,
        message: str,
        *,
        simpler_may_work: bool,
        no_vision: bool = False,
        may_be_image: bool = True,
    ) -> None:
        """Store the message and the hints."""
        super().__init__(message)
        self.simpler_may_work, self.no_vision = simpler_may_work, no_vision
        self.may_be_image = may_be_image


class _Redirected(Exception):
    """The server sends a request to another address."""


class Client:
    """Sends requests to one server and sorts its failures into exceptions.

    All coroutines run in one event loop. Every text of an exception is without secrets.
    """

    # The name of the group of its settings, for messages, and whether a server without a version
    # in its address is expected below /v1.
    group, prefer_v1 = "describer", True

    def __init__(self, settings: DescriberSettings) -> None:
        """Import openai, and check address, token, proxy. Raises BackendUnavailable."""
        try:
            import openai
        except ImportError as error:
            raise BackendUnavailable(f"openai cannot be imported ({error}): {INSTALL}") from None
        self._openai = openai
        self._settings = settings
        guard_loggers(LIBRARIES)
        try:
            self._address = parse_address(settings.url, f"{self.group}.url")
            self._token = read_token(settings.api_key_env, f"{self.group}.api_key_env")
            self._proxy = proxy_for(self._address)
            self._certificates = certificates() if self._address.scheme == "https" else None
        except (AddressError, TokenError, RoutingError) as error:
            raise BackendUnavailable(str(error)) from None
        self._root = self._address.origin + root_of(self._address.path)
        # The paths that are tried; after the first answer, the one that works.
        self._bases = [
            self._address.origin + path
            for path in api_paths(self._address.path, prefer_v1=self.prefer_v1)
        ]
        # The library uses httpx or httpx2, depending on its version.
        library = next(
            base.__module__.partition(".")[0]
            for base in openai.DefaultAsyncHttpxClient.__mro__
            if base.__name__ == "AsyncClient"
        )
        self._http = importlib.import_module(library)
        self._api: Any = None
        self._loader = ModelLoader(self._post_to_root, settings)

    @property
    def url(self) -> str:
        """The address of the API without secrets."""
        return self._bases[0]

    def _connect(self) -> Any:
        if self._api is None:
            openai, proxy = self._openai, self._proxy
            try:
                http_client = openai.DefaultAsyncHttpxClient(
                    trust_env=False,
                    transport=self._transport(),
                    headers={"Accept-Encoding": ACCEPTED},
                    event_hooks={"response": [self._refuse_redirect]},
                )
            except Exception as error:  # An address of a proxy, or a package that it needs.
                where = f"the proxy {proxy.shown}" if proxy else self.url
                raise ServerUnavailable(f"{where} cannot be used: {_quoted(error)}") from None
            self._api = openai.AsyncOpenAI(
                base_url=self.url,
                # Without a key the library would send OPENAI_API_KEY to a foreign server.
                api_key=self._token or "none",
                max_retries=0,
                timeout=self._timeout(self._settings.region_timeout_s),
                default_headers=self._basic_authorization(),
                default_query=dict(self._address.query),
                http_client=http_client,
            )
            # Nor are OPENAI_ORG_ID, OPENAI_PROJECT_ID and OPENAI_CUSTOM_HEADERS for such a server.
            self._api.organization = self._api.project = None
            self._api._custom_headers = self._basic_authorization()  # noqa: SLF001
        return self._api

    def _transport(self) -> BoundedTransport:
        # Proxy and certificates are chosen here: see ``routing.py``.
        inner = self._http.AsyncHTTPTransport(
            trust_env=False,
            proxy=self._proxy.url if self._proxy else None,
            verify=self._certificates or True,
        )
        return BoundedTransport(
            inner,
            self._http.Response,
            list_bytes=LIST_BYTES,
            answer_bytes=max(ANSWER_BYTES, BYTES_PER_TOKEN * self._settings.max_tokens),
        )

    async def _refuse_redirect(self, response: Any) -> None:
        """Raise _Redirected for a redirect that leads elsewhere or drops the request's body.

        Neither images nor tokens are for another server than the one in the settings.
        """
        if not response.has_redirect_location:
            return
        request, location = response.request, response.headers["location"]
        here, there = request.url, request.url.join(location)
        same = (here.scheme, here.host, here.port) == (there.scheme, there.host, there.port)
        drops_body = response.status_code not in (307, 308) and request.method != "GET"
        if not same or drops_body:
            target = clean_line(shown(location), REASON)
            raise _Redirected(
                f"the server redirects to {target} (status "
                f"{response.status_code}): set {self.group}.url to its address there"
            )

    def _basic_authorization(self) -> dict[str, str]:
        """Return the header for the name and password in the address, which replace the token."""
        if self._address.user is None:
            return {}
        credentials = f"{self._address.user}:{self._address.password}"
        encoded = base64.b64encode(credentials.encode("utf-8", "surrogatepass")).decode()
        register(credentials)
        register(encoded)
        return {"Authorization": f"Basic {encoded}"}

    def _timeout(self, seconds: float) -> Any:
        return self._openai.Timeout(seconds, connect=min(seconds, CONNECT_TIMEOUT_S))

    async def choose_model(self) -> ChosenModel:
        """Return the model to use. Raises ServerUnavailable if there is no model or no server."""
        wanted = self._settings.model
        answered_page = False
        lists = [(path, f"{self._root}{path}", f"{self._root}/v1") for path in OWN_LISTINGS]
        lists += [(MODELS, f"{base}/models", base) for base in self._bases]
        for path, url, base in lists:
            try:
                body = await self._send("get", url, READINESS_TIMEOUT_S)
                chosen = choose_model(path, body, wanted)
            except NoUsableModel as error:
                self._use(base)
                raise self._unavailable(error) from None
            except TransientError as error:
                if wanted and isinstance(error, UnreadableAnswer):
                    continue  # A gateway may list ten thousands of models.
                if url != lists[-1][1] and error.retry_after_s is None and error.connected:
                    continue  # Some servers answer an unknown path with an error of their own.
                raise ServerUnavailable(str(error)) from None
            except (RequestRefused, WrongPath):
                continue
            answered_page = answered_page or (isinstance(body, str) and is_page(body))
            if chosen:
                self._use(base)
                self._loader.confirm_loaded()
                return chosen
        if wanted:
            return ChosenModel(wanted)  # A server that lists no models may still have this one.
        tried = " and ".join(f"{base}/models" for base in self._bases)
        if answered_page:
            raise ServerUnavailable(
                f"the address answers with a web page; is {self.group}.url right?"
            )
        raise ServerUnavailable(
            f"the server does not list its models: set describer.model (asked for {tried})"
        )

    def _use(self, base: str) -> None:
        """Use the path that works from now on, where several were possible."""
        if base in self._bases:
            self._bases = [base]

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
        bases = list(self._bases)
        for base in bases:
            try:
                body = await self._send("post", f"{base}/chat/completions", timeout, request)
            except WrongPath as error:
                reason = str(error)
                continue
            error_body = body.get("error") if isinstance(body, Mapping) else None
            reason = error_text(error_body)
            if not error_body or not WRONG_PATH.search(reason):
                self._use(base)
                return body
        tried = " and ".join(f"{base}/chat/completions" for base in bases)
        raise ServerUnavailable(
            f"there is no chat server at {tried} ({reason}); set {self.group}.url to its address, "
            "which mostly ends with /v1"
        )

    async def _send(
        self, method: str, url: str, timeout: float, body: Mapping[str, Any] | None = None
    ) -> object:
        """Return the decoded body of an answer, JSON or text, without secrets.

        ``timeout``: seconds for all of it; the library's timeouts are for each part of a body.
        Raises ServerUnavailable, TransientError, RequestRefused or WrongPath. None of them is
        chained: the texts of a library's exceptions may contain what was sent.
        """
        openai = self._openai
        options = {"timeout": self._timeout(timeout)}
        no_answer = TransientError("the server did not answer in time", connected=False)
        try:
            api = self._connect()
            # The typed call would make objects with missing fields from a broken answer, and
            # believes the content type.
            cast_to = self._http.Response
            if method == "get":
                request = api.get(url, cast_to=cast_to, options=options)
            else:
                request = api.post(url, cast_to=cast_to, body=body, options=options)
            answer = await asyncio.wait_for(request, timeout)
            return scrub_content(decode_body(answer.content, _content_type(answer)))
        except ServerUnavailable:
            raise
        except _Redirected as error:
            raise ServerUnavailable(str(error)) from None
        except openai.APIStatusError as error:
            raise self._error_of_status(error) from None
        except (openai.APITimeoutError, asyncio.TimeoutError):
            raise no_answer from None
        except openai.APIConnectionError as error:
            if isinstance(error.__cause__, _Redirected):
                raise ServerUnavailable(str(error.__cause__)) from None
            if isinstance(error.__cause__, UntrustedError):
                raise UnreadableAnswer(str(error.__cause__)) from None
            raise self._no_connection(error.__cause__ or error) from None
        except UntrustedError as error:  # Some versions of the library do not wrap it.
            raise UnreadableAnswer(str(error)) from None
        except UnicodeEncodeError as error:
            # Its text would quote a part of the request.
            raise TransientError(f"the request cannot be encoded ({error.reason})") from None
        except ValueError as error:
            raise TransientError(_quoted(error)) from None
        except Exception as error:  # The transport's exceptions share no base class with openai's.
            raise TransientError(
                f"{type(error).__name__}: {_quoted(error)}", connected=False
            ) from None

    def _no_connection(self, cause: BaseException) -> TransientError:
        reason = _quoted(cause) or type(cause).__name__
        if "CERTIFICATE_VERIFY_FAILED" in reason:
            reason += (
                "; if its certificate is of an authority of your own, set SSL_CERT_FILE to the "
                "file of that authority's certificate"
            )
        elif re.search("WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE|UNKNOWN_PROTOCOL", reason):
            reason += f"; maybe the server speaks http: set {self.group}.url to http://…"
        elif type(cause).__name__ in ("ReadError", "RemoteProtocolError") and (
            self._address.scheme == "http"
        ):
            reason += f"; if the server speaks https, set {self.group}.url to https://…"
        if self._proxy is None:
            return TransientError(f"no connection ({reason})", connected=False)
        if type(cause).__name__ == "ProxyError":
            return TransientError(
                f"the proxy {self._proxy.shown} refuses the connection ({reason}){self._no_proxy}",
                connected=False,
            )
        return TransientError(
            f"no connection through the proxy {self._proxy.shown} ({reason}){self._no_proxy}",
            connected=False,
        )

    @property
    def _no_proxy(self) -> str:
        host = self._address.host
        return f"; if {host} can be reached directly, add it to the variable NO_PROXY"

    def _error_of_status(self, error: Any) -> Exception:
        status = int(error.status_code)
        data, content_type = error.response.content, _content_type(error.response)
        try:
            body = decode_body(data, content_type)
        except ValueError:  # It is empty, or breaks off.
            body = decode_text(data, content_type)
        # Some servers send a JSON text.
        is_json = not isinstance(body, str) or data.lstrip().startswith(b'"')
        # The text is cut to a length, and a secret in it must not be cut in two before.
        text = error_text(
            scrub(page_title(body[:LONGEST_ERROR]))
            if isinstance(body, str)
            else scrub_content(body)
        )
        text = scrub(text)
        message = f"status {status}: {text}" if text else f"status {status}"
        retry_after_s = pause_asked_for(error.response.headers.get("retry-after"))
        if takes_no_images(text):
            return self.error_from(text, message)
        if self._proxy is not None and (status == 407 or (not is_json and status >= 400)):
            return ServerUnavailable(
                f"the proxy {self._proxy.shown} answered with {message}{self._no_proxy}",
                retry_after_s,
            )
        if status in (401, 403):
            return ServerUnavailable(f"{self._refused_token()} ({message})")
        if status == 402:
            return ServerUnavailable(f"the server wants to be paid ({message})")
        if status in (408, 425, 429, 502, 503, 504, 529) or 520 <= status <= 524:
            return TransientError(message, retry_after_s)
        if WANTS_TLS.search(text):
            return ServerUnavailable(f"{message}; set {self.group}.url to https://…")
        wrong_path = status == 405 or (
            status in (404, 501) and (not text or not is_json or WRONG_PATH.search(text))
        )
        if wrong_path and not NOT_LOADED.search(text):
            return WrongPath(message)
        simpler_may_work = status in (400, 415, 422, 500, 501)
        return self.error_from(text, message, simpler_may_work=simpler_may_work, status=status)

    def _refused_token(self) -> str:
        if self._address.user is not None:
            return f"the server does not accept the name and password in {self.group}.url"
        variable = self._settings.api_key_env
        if not variable:
            name = f"({self.group}.api_key_env is empty)"
        elif is_shown(variable):
            name = variable
        else:
            name = (
                f"the environment variable that {self.group}.api_key_env names (which expects the "
                "name of a variable, not the token)"
            )
        state = "is not set"
        if self._token:
            state = f"is not accepted{refused_token_hint(variable, self._token)}"
        return f"the server wants an API token; {name} {state}"

    def error_from(
        self, text: str, message: str = "", *, simpler_may_work: bool = True, status: int = 0
    ) -> ServerUnavailable | RequestRefused:
        """Return the exception for an error's text; ``message`` replaces its default message.

        ``status``: that of HTTP, 0 for an error that came with an answer.
        """
        text = scrub(text)
        message = message or f"the server says: {text}"
        if takes_no_images(text):
            return RequestRefused(message, simpler_may_work=False, no_vision=True)
        if NOT_LOADED.search(text):
            return ServerUnavailable(
                f"{message}; load a vision model in LM Studio (Developer > Select a model to load) "
                "or run: lms load"
            )
        if PINNED.search(text):
            return ServerUnavailable(f"{message} Set describer.model to the one that it serves")
        return RequestRefused(
            message,
            simpler_may_work=simpler_may_work,
            # A server that fails (5xx) may fail because of one image.
            may_be_image=not 400 <= status < 500 or may_be_due_to_image(text),
        )

    async def close(self) -> None:
        """Unload the model if this client loaded it, and close the connections."""
        try:
            await self._loader.close()
        finally:
            api, self._api = self._api, None
            if api is not None:
                await api.close()


def _content_type(response: Any) -> str:
    return str(response.headers.get("content-type", ""))


def _quoted(error: BaseException) -> str:
    """Return the text of a library's exception, which may quote the server, for a message."""
    return clean_line(error, REASON)


def pause_asked_for(value: str | None) -> float | None:
    """Return the seconds of a Retry-After header, which is a number or a date.

    They are at most LONGEST_PAUSE_S.
    """
    if not value:
        return None
    seconds = math.nan
    try:
        seconds = float(value)
    except ValueError:
        with suppress(ValueError, TypeError, OverflowError):
            moment = email.utils.parsedate_to_datetime(value)
            seconds = (moment - datetime.datetime.now(moment.tzinfo)).total_seconds()
    return None if math.isnan(seconds) else min(LONGEST_PAUSE_S, max(0.0, seconds))
