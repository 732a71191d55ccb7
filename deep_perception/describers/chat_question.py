"""How a chat server is asked about one region, and asked again where that helps."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from deep_perception.describers import chat_pictures
from deep_perception.describers.chat_answers import SCHEMA, Answer, BadAnswer, SaidError, read
from deep_perception.describers.chat_client import Client, Refused, Transient, Unreachable
from deep_perception.describers.chat_pictures import Mode
from deep_perception.images import Picture
from deep_perception.regions import Region
from deep_perception.settings import DescriberSettings

PROMPTS = Path(__file__).parents[1] / "prompts"
# Requests of a region that got no answer, and the first wait between them; it doubles.
ATTEMPTS, BACK_OFF_S = 4, 0.5
# From the most to the least that a server must be able to do.
FORMS = ("json_schema", "json", "text")


class Question:
    """Asks with one prompt; remembers in which form the server takes it."""

    def __init__(self, client: Client, settings: DescriberSettings, prompt: str) -> None:
        """Read the package's texts for the forms."""
        self._client = client
        self._settings = settings
        self._prompt = prompt
        more = {name: (PROMPTS / f"{name}.txt").read_text(encoding="utf-8").strip()
                for name in ("json", "text")}  # fmt: skip
        # With a schema too: a server may ignore it, and a model should know the keys' meaning.
        self._texts = {"json_schema": more["json"], **more}
        self._form = 0
        self._worked: set[int] = set()

    async def ask(
        self, image: Picture, region: Region, model: str, give_up: Callable[[], bool]
    ) -> Answer:
        """The words of a region.

        An answer that is no description is asked for once more, with another picture. Raises
        BadAnswer, Refused, Transient (no answer, often enough) or Unreachable.
        """
        mode = self._settings.picture_mode
        try:
            return await self._ask_in_some_form(image, region, model, mode, give_up)
        except BadAnswer:
            other: Mode = "dim" if mode == "outline" else "outline"
            return await self._ask_in_some_form(image, region, model, other, give_up)

    async def _ask_in_some_form(
        self, image: Picture, region: Region, model: str, mode: Mode, give_up: Callable[[], bool]
    ) -> Answer:
        url = chat_pictures.to_data_url(chat_pictures.compose(image, region, mode))
        form = self._form
        while True:
            text = self._prompt.replace("{surroundings}", chat_pictures.SURROUNDINGS[mode])
            text = f"{text}\n\n{self._texts[FORMS[form]]}"
            request = self._request(model, text, url, FORMS[form])
            try:
                answer = await self._until_answered(request, text, give_up)
            except Refused as refusal:
                if not refusal.form or form + 1 == len(FORMS):
                    if refusal.blind:
                        raise Unreachable(
                            f"model {model!r} takes text only ({refusal}); load a vision model"
                        ) from None
                    raise
                form += 1
                continue
            # Not at the refusal: that may have been of this picture, in every form. And not of a
            # form that has worked: a server may have a bad moment.
            if form > self._form and self._form not in self._worked:
                self._form = form
            self._worked.add(form)
            return answer

    def _request(self, model: str, text: str, url: str, form: str) -> dict[str, Any]:
        request: dict[str, Any] = {
            "model": model,
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": text},
                        {"type": "image_url", "image_url": {"url": url}},
                    ],
                }
            ],
            "max_tokens": self._settings.max_tokens,
            "temperature": self._settings.temperature,
            "stream": False,
        }
        if form == "json_schema":
            request["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "region", "strict": True, "schema": SCHEMA},
            }
        return request

    async def _until_answered(
        self, request: Mapping[str, Any], prompt: str, give_up: Callable[[], bool]
    ) -> Answer:
        """Ask until there is an answer, ATTEMPTS times at most."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                body = await self._client.ask(request)
            except Transient as failure:
                if attempt == ATTEMPTS or give_up():
                    raise
                # Jitter: else the regions that failed together come back together.
                wait = BACK_OFF_S * 2 ** (attempt - 1) * random.uniform(0.5, 1.5)
                if failure.wait_s is not None:
                    if failure.wait_s > self._settings.region_timeout_s:
                        raise
                    wait = failure.wait_s + 0.1 * wait
                await asyncio.sleep(wait)
                continue
            try:
                return read(body, prompt)
            except SaidError as error:
                raise self._client.said(str(error)) from None
        raise AssertionError("unreachable")
