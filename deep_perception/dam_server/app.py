"""The HTTP interface: the paths of OpenAI's API, NVIDIA's path, and /health."""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from aiohttp import web

from deep_perception._version import __version__
from deep_perception.dam_server import images, requests
from deep_perception.dam_server.arrivals import MAX_BODY, Arrivals
from deep_perception.dam_server.batcher import Batcher, Job
from deep_perception.dam_server.callers import check_caller, check_content
from deep_perception.dam_server.connections import Connections
from deep_perception.dam_server.errors import OutOfMemory, RequestError, without_folders
from deep_perception.dam_server.memory import return_memory
from deep_perception.dam_server.options import Options
from deep_perception.untrusted.text import LINE, printable

if TYPE_CHECKING:
    from PIL import Image

    from deep_perception.dam_server.model import Completion, Dam

# NVIDIA's server uses this name for any model that it has loaded.
MODEL = "describe_anything_model"

_LOADING_RETRY_S = 5
# In bytes and pixels: what the node sends is smaller, a photograph in 4K is larger.
_SMALL_BODY, _SMALL_IMAGE = 8 * 2**20, 4_000_000

Status = Literal["loading", "ready", "failed", "stopping"]
_T = TypeVar("_T")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_log = logging.getLogger(__name__)


class App:
    """The state of the server and its request handlers.

    ``model`` is set before ``status`` becomes ready. ``decoders`` decodes images in other threads,
    and ``large_decoder`` large ones, in one thread: each takes a GB and seconds, for which the
    others do not wait.
    """

    def __init__(
        self, options: Options, batcher: Batcher, decoders: Executor, large_decoder: Executor
    ) -> None:
        self.status: Status = "loading"
        self.error = ""
        self.model: Dam | None = None
        self.connections: Connections | None = None
        self._arrivals = Arrivals()
        self._options = options
        self._batcher = batcher
        self._decoders, self._large_decoder = decoders, large_decoder
        self._started = int(time.time())

    def application(self) -> web.Application:
        """Return the aiohttp application with all routes."""
        application = web.Application(client_max_size=MAX_BODY)
        application.router.add_get("/health", self._guarded(self._health))
        application.router.add_get("/v1/models", self._guarded(self._authorized(self._models)))
        for path in ("/v1/chat/completions", "/chat/completions"):
            application.router.add_post(path, self._guarded(self._authorized(self._complete)))
        application.router.add_route("*", r"/{path:[\s\S]*}", self._guarded(_unknown_path))
        return application

    def _guarded(self, handler: Handler) -> Handler:
        """Return a handler for programs only, whose failures become errors as in OpenAI's API."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            try:
                with_token = bool(self._options.token) and self._is_authorized(request)
                check_caller(request, self._options.host, with_token=with_token)
                return await handler(request)
            except RequestError as error:
                return _error_response(error)
            except ConnectionError:
                raise  # The client has disconnected.
            except Exception as error:
                shown = printable(f"{request.path} failed: {type(error).__name__}: {error}", LINE)
                _log.error("%s", shown)
                return _error_response(RequestError(500, "internal_error", type(error).__name__))
            finally:
                if self.connections:
                    self.connections.ended(request)

        return guarded

    def _is_authorized(self, request: web.Request) -> bool:
        """Whether a request has the token, or none is needed."""
        expected = f"Bearer {self._options.token}".encode()
        given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        return not self._options.token or hmac.compare_digest(given, expected)

    def _authorized(self, handler: Handler) -> Handler:
        async def authorized(request: web.Request) -> web.StreamResponse:
            if not self._is_authorized(request):
                raise RequestError(
                    401, "wrong_token", "send the server's token: Authorization: Bearer TOKEN"
                )
            return await handler(request)

        return authorized

    async def _health(self, request: web.Request) -> web.StreamResponse:
        state = {
            "status": self.status,
            "error": self.error,
            "message": f"the DAM server is {self.status}",
            "model": self._options.checkpoint.name,
            "device": self._options.device,
            "precision": self._options.precision,
            "queued": self._batcher.queued,
            "describing": self._batcher.describing,
            "described": self._batcher.described,
            "version": __version__,
        }
        if not self.error or not self._is_authorized(request):
            # An empty error would be displayed by clients in place of the message. The reason has
            # paths of this machine.
            del state["error"]
        wait = {"Retry-After": "1"} if self.status == "loading" else {}
        status = 200 if self.status == "ready" else 503
        return web.json_response(state, status=status, headers=wait)

    async def _models(self, request: web.Request) -> web.StreamResponse:
        entry = {
            "id": MODEL,
            "object": "model",
            "created": self._started,
            "owned_by": "nvidia",
            "parallel": self._options.max_batch,
        }
        return web.json_response({"object": "list", "data": [entry]})

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        check_content(request)
        model = self._ready_model()
        self._batcher.check_room()
        async with self._arrivals.body_of(request) as body:
            # From here on the client is believed to mean it: no place in the queue and no
            # connection is kept for a request that has not arrived.
            with self._busy(request):
                job = await self._queued(model, body)
        with self._busy(request):
            try:
                completion = await asyncio.wrap_future(job.completion)
            except asyncio.CancelledError:
                self._batcher.cancel(job)
                raise
        return web.json_response(_response(completion))

    def _busy(self, request: web.Request) -> AbstractContextManager[None]:
        return self.connections.busy(request) if self.connections else nullcontext()

    async def _queued(self, model: Dam, body: bytearray) -> Job:
        self._batcher.reserve()
        try:
            request = await self._decode(
                len(body) <= _SMALL_BODY, requests.parse, bytes(body), self._options.sampling
            )
            image = await self._decode(len(body) <= _SMALL_BODY, images.open_png, request.image_url)
            body.clear()
            tensor = await self._decode(
                image.width * image.height <= _SMALL_IMAGE, _prepare, model, image
            )
            job = Job(query=request.query, sampling=request.sampling, image=tensor)
            self._batcher.put(job)
            return job
        finally:
            self._batcher.release()

    async def _decode(self, small: bool, work: Callable[..., _T], *arguments: Any) -> _T:
        pool = self._decoders if small else self._large_decoder
        return await asyncio.get_running_loop().run_in_executor(pool, work, *arguments)

    def _ready_model(self) -> Dam:
        if self.status == "ready" and self.model is not None:
            return self.model
        message = {
            "loading": "the model is being loaded; GET /health tells when it is ready",
            "failed": f"the model cannot be loaded: {without_folders(self.error)}",
        }.get(self.status, "the server is stopping")
        raise RequestError(503, self.status, message, retry_after_s=_LOADING_RETRY_S)


def _prepare(model: Dam, image: Image.Image) -> Any:
    """Decode an image; return what the model needs of it. Raises RequestError."""
    try:
        return model.prepare(*images.split(image))
    except OutOfMemory as error:
        raise RequestError(503, "out_of_memory", str(error), retry_after_s=30) from error
    finally:
        if image.width * image.height > _SMALL_IMAGE:
            return_memory()


def _error_response(error: RequestError) -> web.StreamResponse:
    wait = {"Retry-After": str(error.retry_after_s)} if error.retry_after_s else {}
    return web.json_response(error.body(), status=error.status, headers=wait)


async def _unknown_path(request: web.Request) -> web.StreamResponse:
    raise RequestError(
        404,
        "no_such_path",
        "the server has GET /health, GET /v1/models, POST /v1/chat/completions and "
        "POST /chat/completions",
    )


def _response(completion: Completion) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": MODEL,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": completion.text},
                "finish_reason": completion.finish_reason,
                "logprobs": None,
            }
        ],
        "usage": {
            "prompt_tokens": completion.prompt_tokens,
            "completion_tokens": completion.completion_tokens,
            "total_tokens": completion.prompt_tokens + completion.completion_tokens,
        },
    }
