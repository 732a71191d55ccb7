"""The process of the server: it binds the port and loads the model in the background.

Exit status: 0 terminated by a signal or with its parent, 1 the port cannot be bound, 2 wrong
command line, 3 the model cannot be loaded, 4 the GPU was lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

from aiohttp import web

from deep_perception.dam_server import options
from deep_perception.dam_server.app import App
from deep_perception.dam_server.batcher import Batcher
from deep_perception.dam_server.connections import Connections
from deep_perception.dam_server.errors import DeviceLost, LoadError
from deep_perception.dam_server.loading import load
from deep_perception.redaction.output import ScrubbingFormatter, scrub_uncaught

TERMINATED, NO_PORT, NOT_LOADED, LOST = 0, 1, 3, 4

# Seconds that the current batch may take after the server was told to end.
_BATCH_GRACE_S = 10.0
# Seconds that clients may take to receive their answers after that.
_RESPONSE_GRACE_S = 2.0
_DECODERS = 3
# Seconds that a connection may take for the line and the headers of a request, and be idle between
# two requests.
_IDLE_S = 15.0
# Seconds that the rest of a refused request is received for, so that its client reads the answer.
_LINGERING_S = 5.0

_log = logging.getLogger(__name__)


def main(arguments: Sequence[str]) -> NoReturn:
    """Run the server until it ends, and end the process with its exit status."""
    parsed = options.parse(arguments)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(ScrubbingFormatter("%(asctime)s dam_server %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    scrub_uncaught()
    logging.getLogger("deep_perception").setLevel(logging.INFO)
    # It logs a traceback for each connection that sends something else than HTTP.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="dam_server_") as modules:
        server = _Server(parsed, Path(modules))
        status = asyncio.run(server.run())
    # A normal exit would wait for a thread that cannot be interrupted, may crash in the threads of
    # torch, and takes seconds.
    logging.shutdown()
    os._exit(status)


class _Server:
    def __init__(self, parsed: options.Options, modules: Path) -> None:
        self._options = parsed
        self._modules = modules
        self._batcher = Batcher(parsed.max_batch, parsed.max_queue)
        self._decoders = ThreadPoolExecutor(_DECODERS, thread_name_prefix="decode")
        self._large_decoder = ThreadPoolExecutor(1, thread_name_prefix="decode_large")
        self._app = App(parsed, self._batcher, self._decoders, self._large_decoder)
        self._worker = threading.Thread(target=self._run_model, name="model", daemon=True)
        self._status = TERMINATED

    async def run(self) -> int:
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            self._handle_signal(number)
        if self._options.with_parent:
            threading.Thread(target=self._watch_parent, name="parent", daemon=True).start()
        runner = web.AppRunner(
            self._app.application(),
            access_log=None,
            handle_signals=False,
            # The region of a client that disconnects is removed from the queue.
            handler_cancellation=True,
            shutdown_timeout=_RESPONSE_GRACE_S,
            keepalive_timeout=_IDLE_S,
            lingering_time=_LINGERING_S,
            auto_decompress=False,
        )
        await runner.setup()
        assert runner.server is not None
        regions = self._options.max_queue + self._options.max_batch
        self._app.connections = Connections(runner.server, regions)
        listener = None
        try:
            try:
                listener = await self._loop.create_server(
                    self._app.connections.new, self._options.host, self._options.port, backlog=128
                )
            except OSError as error:
                _log.error("cannot listen; another DAM server may be running: %s", error)
                return NO_PORT
            addresses = [socket.getsockname() for socket in listener.sockets]
            _log.info(
                "listening on %s, loading %s (%s, %s)",
                " and ".join(f"{address[0]} port {address[1]}" for address in addresses),
                self._options.checkpoint,
                self._options.device,
                self._options.precision,
            )
            self._worker.start()
            await self._end.wait()
            await self._shut_down()
        finally:
            if listener:
                listener.close()
            await runner.cleanup()
            for pool in (self._decoders, self._large_decoder):
                pool.shutdown(wait=False, cancel_futures=True)
        return self._status

    async def _shut_down(self) -> None:
        loading = self._app.status == "loading"
        if self._app.status != "failed":
            self._app.status = "stopping"
        self._batcher.close()
        if not loading:
            # A parent that ends its server does not wait for answers.
            grace_s = 0.0 if self._options.with_parent else _BATCH_GRACE_S
            await asyncio.to_thread(self._worker.join, grace_s)
        self._batcher.cancel_running()
        # After a failure, its reason stays the last line of the log.
        if self._status == TERMINATED:
            _log.info("ended after %d regions", self._batcher.described)

    def _run_model(self) -> None:
        """Load the model and describe until the end, in the only thread that uses the model."""
        start = time.monotonic()
        try:
            model = load(self._options, self._modules)
            self._app.model = model
            self._app.status = "ready"
            _log.info("ready after %.1f s", time.monotonic() - start)
            self._batcher.run(model)
        except LoadError as error:
            self._fail(NOT_LOADED, str(error))
        except DeviceLost as error:
            self._fail(LOST, f"the GPU was lost: {error}")
        except BaseException as error:
            self._fail(LOST, f"{type(error).__name__}: {error}")
            raise

    def _fail(self, status: int, error: str) -> None:
        self._status = status
        self._app.error = error
        self._app.status = "failed"
        _log.error("%s", error)
        self._request_shutdown()

    def _request_shutdown(self) -> None:
        # The loop raises RuntimeError after its end.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._end.set)

    def _handle_signal(self, number: signal.Signals) -> None:
        try:
            self._loop.add_signal_handler(number, self._end.set)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda *_: self._request_shutdown())

    def _watch_parent(self) -> None:
        # The pipe is closed when the parent ends, in whatever way it ends.
        while os.read(0, 4096):
            pass
        _log.info("the process that started this server has ended")
        self._request_shutdown()
