"""The HTTP face: OpenAI's paths, NVIDIA's path, and /health."""

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

from deep_perception import __version__
from deep_perception.dam_server import pictures, questions
from deep_perception.dam_server.batcher import Batcher, Job
from deep_perception.dam_server.errors import OutOfMemory, RequestError
from deep_perception.dam_server.options import Options

if TYPE_CHECKING:
    from deep_perception.dam_server.model import Answer, Dam

# NVIDIA's server goes by this name whatever it has loaded.
MODEL = "describe_anything_model"

# A 4K photograph as a PNG, in base64, takes about half of it.
MAX_BODY = 64 * 2**20

_LOADING_RETRY_S = 5

Status = Literal["loading", "ready", "failed", "stopping"]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_log = logging.getLogger(__name__)


class App:
    """`model` is set before `status` becomes ready; `decoders` unpacks pictures."""

    def __init__(self, options: Options, batcher: Batcher, decoders: Executor) -> None:
        self.status: Status = "loading"
        self.error = ""
        self.model: Dam | None = None
        self._options = options
        self._batcher = batcher
        self._decoders = decoders
        self._started = int(time.time())

    def application(self) -> web.Application:
        application = web.Application(client_max_size=MAX_BODY)
        application.router.add_get("/health", _typed(self._health))
        application.router.add_get("/v1/models", _typed(self._guarded(self._models)))
        for path in ("/v1/chat/completions", "/chat/completions"):
            application.router.add_post(path, _typed(self._guarded(self._complete)))
        application.router.add_route("*", "/{path:.*}", _typed(_nothing_here))
        return application

    def _guarded(self, handler: Handler) -> Handler:
        async def guarded(request: web.Request) -> web.StreamResponse:
            expected = f"Bearer {self._options.token}".encode()
            given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
            if self._options.token and not hmac.compare_digest(given, expected):
                raise RequestError(
                    401, "wrong_token", "send the server's token: Authorization: Bearer TOKEN"
                )
            return await handler(request)

        return guarded

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
            # Clients would show it in place of the message.
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
        model = self._ready()
        self._batcher.admit()
        try:
            body = await request.read()
            job = await asyncio.get_running_loop().run_in_executor(
                self._decoders, self._job, model, body
            )
            self._batcher.put(job)
        finally:
            self._batcher.leave()
        try:
            answer = await asyncio.wrap_future(job.answer)
        except asyncio.CancelledError:
            self._batcher.abandon(job)
            raise
        return web.json_response(_completion(answer))

    def _job(self, model: Dam, body: bytes) -> Job:
        question = questions.parse(body, self._options.sampling)
        image, mask = pictures.decode(question.picture_url)
        try:
            picture = model.prepare(image, mask)
        except OutOfMemory as error:
            raise RequestError(503, "out_of_memory", str(error), retry_after_s=30) from error
        return Job(query=question.query, sampling=question.sampling, picture=picture)

    def _ready(self) -> Dam:
        if self.status == "ready" and self.model is not None:
            return self.model
        message = {
            "loading": "the model is being loaded; ask /health when it is ready",
            "failed": f"the model cannot be loaded: {self.error}",
        }.get(self.status, "the server is stopping")
        raise RequestError(503, self.status, message, retry_after_s=_LOADING_RETRY_S)


def _typed(handler: Handler) -> Handler:
    """Every failure becomes OpenAI's form of one."""

    async def typed(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except RequestError as error:
            return _refusal(error)
        except web.HTTPRequestEntityTooLarge:
            return _refusal(
                RequestError(
                    413, "request_too_large", f"the request is larger than {MAX_BODY} bytes"
                )
            )
        except ConnectionError:
            raise  # its client is gone
        except Exception as error:
            _log.error("%s failed: %s: %s", request.path, type(error).__name__, error)
            return _refusal(RequestError(500, "internal_error", f"{type(error).__name__}"))

    return typed


def _refusal(error: RequestError) -> web.StreamResponse:
    wait = {"Retry-After": str(error.retry_after_s)} if error.retry_after_s else {}
    return web.json_response(error.body(), status=error.status, headers=wait)


async def _nothing_here(request: web.Request) -> web.StreamResponse:
    raise RequestError(
        404,
        "no_such_path",
        "there is GET /health, GET /v1/models, POST /v1/chat/completions and "
        "POST /chat/completions",
    )


def _completion(answer: Answer) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": MODEL,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": answer.text},
                "finish_reason": answer.finish_reason,
                "logprobs": None,
            }
        ],
        "usage": {
            "prompt_tokens": answer.prompt_tokens,
            "completion_tokens": answer.completion_tokens,
            "total_tokens": answer.prompt_tokens + answer.completion_tokens,
        },
    }
