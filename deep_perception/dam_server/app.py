"""The HTTP interface: the paths of OpenAI's API, NVIDIA's path, and /health."""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, Literal

from aiohttp import web

from deep_perception._version import __version__
from deep_perception.dam_server import images, requests
from deep_perception.dam_server.batcher import Batcher, Job
from deep_perception.dam_server.errors import OutOfMemory, RequestError
from deep_perception.dam_server.options import Options

if TYPE_CHECKING:
    from deep_perception.dam_server.model import Completion, Dam

# NVIDIA's server uses this name for any model that it has loaded.
MODEL = "describe_anything_model"

# In bytes. A 4K photograph as a PNG in base64 takes about half of it.
MAX_BODY = 64 * 2**20

_LOADING_RETRY_S = 5

Status = Literal["loading", "ready", "failed", "stopping"]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_log = logging.getLogger(__name__)


class App:
    """The state of the server and its request handlers.

    ``model`` is set before ``status`` becomes ready. ``decoders`` decodes images in other threads.
    """

    def __init__(self, options: Options, batcher: Batcher, decoders: Executor) -> None:
        self.status: Status = "loading"
        self.error = ""
        self.model: Dam | None = None
        self._options = options
        self._batcher = batcher
        self._decoders = decoders
        self._started = int(time.time())

    def application(self) -> web.Application:
        """Return the aiohttp application with all routes."""
        application = web.Application(client_max_size=MAX_BODY)
        application.router.add_get("/health", _with_errors(self._health))
        application.router.add_get("/v1/models", _with_errors(self._authorized(self._models)))
        for path in ("/v1/chat/completions", "/chat/completions"):
            application.router.add_post(path, _with_errors(self._authorized(self._complete)))
        application.router.add_route("*", "/{path:.*}", _with_errors(_unknown_path))
        return application

    def _authorized(self, handler: Handler) -> Handler:
        async def authorized(request: web.Request) -> web.StreamResponse:
            expected = f"Bearer {self._options.token}".encode()
            given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
            if self._options.token and not hmac.compare_digest(given, expected):
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
        if not self.error:
            # An empty error would be displayed by clients in place of the message.
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
        model = self._ready_model()
        self._batcher.reserve()
        try:
            body = await request.read()
            job = await asyncio.get_running_loop().run_in_executor(
                self._decoders, self._job, model, body
            )
            self._batcher.put(job)
        finally:
            self._batcher.release()
        try:
            completion = await asyncio.wrap_future(job.completion)
        except asyncio.CancelledError:
            self._batcher.cancel(job)
            raise
        return web.json_response(_response(completion))

    def _job(self, model: Dam, body: bytes) -> Job:
        request = requests.parse(body, self._options.sampling)
        image, mask = images.decode(request.image_url)
        try:
            tensor = model.prepare(image, mask)
        except OutOfMemory as error:
            raise RequestError(503, "out_of_memory", str(error), retry_after_s=30) from error
        return Job(query=request.query, sampling=request.sampling, image=tensor)

    def _ready_model(self) -> Dam:
        if self.status == "ready" and self.model is not None:
            return self.model
        message = {
            "loading": "the model is being loaded; GET /health tells when it is ready",
            "failed": f"the model cannot be loaded: {self.error}",
        }.get(self.status, "the server is stopping")
        raise RequestError(503, self.status, message, retry_after_s=_LOADING_RETRY_S)


def _with_errors(handler: Handler) -> Handler:
    """Return a handler whose failures become errors in the form of OpenAI's API."""

    async def with_errors(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except RequestError as error:
            return _error_response(error)
        except web.HTTPRequestEntityTooLarge:
            return _error_response(
                RequestError(
                    413, "request_too_large", f"the request is larger than {MAX_BODY} bytes"
                )
            )
        except ConnectionError:
            raise  # The client has disconnected.
        except Exception as error:
            _log.error("%s failed: %s: %s", request.path, type(error).__name__, error)
            return _error_response(RequestError(500, "internal_error", f"{type(error).__name__}"))

    return with_errors


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
