"""The describer's server: does it answer, with which model, and does that one take images?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from deep_perception.backends import BackendUnavailable
from deep_perception.describers.chat.region_images import to_data_url
from deep_perception.describers.server.client import (
    Client,
    RequestRefused,
    ServerUnavailable,
    TransientError,
)
from deep_perception.doctor import Finding, Level
from deep_perception.settings import DescriberSettings, Settings
from deep_perception.settings.options import settings_from

SECTION = "Describer's server"
# The time for the answer to one small image. A model that is loaded answers within it.
PATIENCE_S = 15.0
FAILURES = (BackendUnavailable, ServerUnavailable, TransientError, RequestRefused)


def check_server(settings: Settings) -> Iterator[Finding]:
    """Yield the findings about the server of ``describer.backend`` and, without one, the default.

    One request with a small image is sent to a chat server that is in use.
    """
    describer = settings.describer
    if describer.backend == "dam":
        yield _dam(describer)
        return
    used = describer.backend == "chat"
    level: Level = "wrong" if used else "note"
    try:
        yield from asyncio.run(_ask(settings, ask_model=used))
    except (*FAILURES, asyncio.TimeoutError) as error:
        what = f"{describer.url}: {str(error) or f'no answer within {PATIENCE_S:.0f} s'}"
        if not used:
            what = f"no chat server in use; {what}"
        elif describer.fallback:
            what += f"; {describer.fallback} is used instead"
        remedy = "" if not used else _remedy(error, describer)
        yield Finding(section=SECTION, level=level, what=what, remedy=remedy)


async def _ask(settings: Settings, *, ask_model: bool) -> list[Finding]:
    # Looking must not load a model.
    changes = {"describer.load_model": "never", "describer.region_timeout_s": PATIENCE_S}
    client = Client(settings_from(changes, settings).describer)
    try:
        chosen = await asyncio.wait_for(client.choose_model(), PATIENCE_S)
        what = f"{settings.describer.url} answers; its model is {chosen.name}"
        if not ask_model:
            remedy = "to use it: --describer.backend chat"
            return [Finding(section=SECTION, level="note", what=what, remedy=remedy)]
        found = [Finding(section=SECTION, level="ok", what=what)]
        return [*found, await _show_an_image(client, chosen.name)]
    finally:
        await client.close()


async def _show_an_image(client: Client, model: str) -> Finding:
    started_s = time.monotonic()
    try:
        body = await client.complete(_request(model))
    except RequestRefused as error:
        how = "takes no images" if error.no_vision else "refuses a request with an image"
        return Finding(
            section=SECTION,
            level="wrong",
            what=f"{model} {how}: {error}",
            remedy="load a vision model, or set describer.model to one",
        )
    except ServerUnavailable as error:
        return Finding(section=SECTION, level="wrong", what=f"{model}: {error}")
    except TransientError as error:
        seconds = time.monotonic() - started_s
        return Finding(
            section=SECTION,
            level="wrong",
            what=f"{model} gave no answer to a small image ({seconds:.1f} s): {error}",
            remedy="see the server's own log; a model that is being loaded takes minutes",
        )
    seconds = time.monotonic() - started_s
    if not isinstance(body, dict) or not body.get("choices"):
        return Finding(
            section=SECTION,
            level="wrong",
            what=f"the answer to an image has no choices: {str(body)[:120]}",
            remedy="check describer.url: is this an OpenAI-compatible server?",
        )
    what = f"{model} answers a request with an image ({seconds:.1f} s)"
    return Finding(section=SECTION, level="ok", what=what)


def _request(model: str) -> dict[str, Any]:
    image = np.full((64, 64, 3), (40, 40, 200), np.uint8)
    content = [
        {"type": "text", "text": "Name the colour of this image in one word."},
        {"type": "image_url", "image_url": {"url": to_data_url(image)}},
    ]
    return {"model": model, "messages": [{"role": "user", "content": content}]}


def _remedy(error: Exception, settings: DescriberSettings) -> str:
    if "no connection" in str(error):
        host = urlsplit(settings.url).hostname
        return f"start the server at {host} (LM Studio: Developer > Start), or set describer.url"
    return "do what this line says, then run deep_perception doctor again"


def _dam(settings: DescriberSettings) -> Finding:
    from deep_perception.describers.dam.health import get_health
    from deep_perception.describers.dam.launch import address_of

    health = get_health(address_of(settings.dam.url), settings.dam.api_key_env)
    if health.kind == "ready":
        return Finding(section=SECTION, level="ok", what=f"{settings.dam.url}: the model is loaded")
    if health.kind == "absent" and settings.dam.manage_server:
        what = f"{settings.dam.url}: no DAM server yet; the node starts one"
        return Finding(section=SECTION, level="note", what=what)
    level: Level = "note" if health.kind in ("loading", "other") else "wrong"
    what = f"{settings.dam.url}: {health.kind} {health.error}".rstrip()
    remedy = "see deep_perception dam-server, which shows its own lines" if level == "wrong" else ""
    return Finding(section=SECTION, level=level, what=what, remedy=remedy)
