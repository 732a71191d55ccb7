"""When a request is sent to a server again: after no answer, and after a bad one."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from deep_perception.describers.server.answers import (
    Answer,
    BadAnswer,
    ErrorInAnswer,
    parse_answer,
)
from deep_perception.describers.server.client import (
    Client,
    RequestRefused,
    TransientError,
    UnreadableAnswer,
)

# Requests for a region that gets no answer, and the first wait between them, which doubles.
ATTEMPTS, BACK_OFF_S = 4, 0.5


async def request_until_answered(
    client: Client,
    request: Mapping[str, Any],
    *,
    prompt: str,
    patience_s: float,
    give_up: Callable[[], bool],
) -> Answer:
    """Send a request until the server answers, at most ATTEMPTS times.

    A server that asks for a longer pause than ``patience_s`` is not asked again. Raises BadAnswer,
    RequestRefused, TransientError or ServerUnavailable.
    """
    attempt = 1
    while True:
        try:
            body = await client.complete(request)
            break
        except TransientError as failure:
            if attempt == ATTEMPTS or give_up() or isinstance(failure, UnreadableAnswer):
                raise
            # The jitter spreads regions that failed together.
            wait_s = BACK_OFF_S * 2 ** (attempt - 1) * random.uniform(0.5, 1.5)
            if failure.retry_after_s is not None:
                if failure.retry_after_s > patience_s:
                    raise
                wait_s = failure.retry_after_s + 0.1 * wait_s
            await asyncio.sleep(wait_s)
            attempt += 1
    try:
        return parse_answer(body, prompt)
    except ErrorInAnswer as error:
        raise client.error_from(str(error)) from None


async def better_of_two(
    first: Callable[[], Awaitable[Answer]], second: Callable[[], Awaitable[Answer]]
) -> Answer:
    """Return the first answer if it is good and complete, else the better one of both.

    ``second`` is called only if the first answer is bad or truncated. Raises what ``second`` raises
    if neither gives an answer.
    """
    answer: Answer | None = None
    with suppress(BadAnswer):
        answer = await first()
        if not answer.truncated:
            return answer
    try:
        other = await second()
    except (BadAnswer, RequestRefused, TransientError):
        if answer is None:
            raise
        return answer
    return other if answer is None or not other.truncated else answer
