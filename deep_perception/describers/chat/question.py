"""How a chat server is asked about one region, and asked again where that helps."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from deep_perception.describers import prompts
from deep_perception.describers.chat import pictures
from deep_perception.describers.chat.forms import ANSWERS, Form
from deep_perception.describers.chat.pictures import Mode, Overview
from deep_perception.describers.prompts import prompt_id, read_prompt
from deep_perception.describers.server.answers import SCHEMA, Answer, BadAnswer, SaidError, read
from deep_perception.describers.server.client import Client, Refused, Transient, Unreachable
from deep_perception.images import BgrImage
from deep_perception.regions import Region
from deep_perception.settings import DescriberSettings

log = logging.getLogger(__name__)

# Requests of a region that got no answer, and the first wait between them; it doubles.
ATTEMPTS, BACK_OFF_S = 4, 0.5


class Question:
    """Asks with one prompt; remembers in which form the server takes it."""

    def __init__(self, client: Client, settings: DescriberSettings) -> None:
        """Read the texts. Raises BackendUnavailable."""
        self._client = client
        self.settings = settings
        self._prompt = read_prompt(settings.prompt or "region")
        self.prompt_id = prompt_id(self._prompt)
        more = {name: read_prompt(name) for name in prompts.FORMS}
        # With a schema too: a server may ignore it, and a model should know the keys' meaning.
        self._texts = {"json_schema": more["json"], **more}
        # Not the form that the server takes: what was remembered is found before that is known.
        self.shaped_by = (
            self._prompt, *more.values(), json.dumps(SCHEMA), settings.picture_mode,
            f"{settings.temperature!r} {settings.max_tokens} {settings.scene_picture} "
            f"{pictures.JPEG_QUALITY}",
        )  # fmt: skip
        self._form = Form(ANSWERS[0], settings.scene_picture, settings.ttl_s > 0)
        self._worked: set[Form] = set()
        self.warnings: list[str] = []

    def looking_at(self, image: BgrImage) -> Callable[[Region], ShownRegion]:
        """How a region of this HxWx3 BGR source image is shown."""
        overview = Overview(image) if self.settings.scene_picture else None
        return lambda region: ShownRegion(self, image, region, overview)

    async def in_some_form(
        self,
        images: Sequence[BgrImage],
        mode: Mode,
        model: str,
        give_up: Callable[[], bool],
    ) -> Answer:
        """The answer in the best form that the server takes.

        Raises BadAnswer, Refused, Transient (no answer, often enough) or Unreachable.
        """
        urls = [pictures.to_data_url(image) for image in images]
        form, said = self._form, ""
        while True:
            text = self._text(form, mode)
            request = self._request(model, text, urls if form.scene else urls[:1], form)
            try:
                answer = await until_answered(
                    self._client,
                    request,
                    prompt=text,
                    patience_s=self.settings.region_timeout_s,
                    give_up=give_up,
                )
            except Refused as refusal:
                simpler = form.simpler(str(refusal)) if refusal.form else None
                if simpler is None:
                    if refusal.blind:
                        raise Unreachable(
                            f"model {model!r} takes text only ({refusal}); load a vision model"
                        ) from None
                    raise
                form, said = simpler, str(refusal)
                continue
            # Not at the refusal: that may have been of this picture, in every form. And not of a
            # form that has worked: a server may have a bad moment.
            if form != self._form and self._form not in self._worked:
                self._settle_for(form, said)
            self._worked.add(form)
            return answer

    def _settle_for(self, form: Form, refusal: str) -> None:
        before, self._form = self._form, form
        for setting, given_up in (
            ("scene_picture", before.scene and not form.scene),
            ("ttl_s", before.ttl and not form.ttl),
        ):
            if given_up:
                self.warnings.append(
                    f"chat server {self._client.url}: describer.{setting} is not used, the server "
                    f"refuses it ({refusal})"
                )
                log.warning(self.warnings[-1])

    def _text(self, form: Form, mode: Mode) -> str:
        parts = [self._prompt.replace("{surroundings}", pictures.SURROUNDINGS[mode])]
        if form.scene:
            parts.append(self._texts["scene"])
        return "\n\n".join([*parts, self._texts[form.answer]])

    def _request(self, model: str, text: str, urls: Sequence[str], form: Form) -> dict[str, Any]:
        images = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
        request: dict[str, Any] = {
            "model": model,
            "messages": [{"role": "user", "content": [{"type": "text", "text": text}, *images]}],
            "max_tokens": self.settings.max_tokens,
            "temperature": self.settings.temperature,
            "stream": False,
        }
        if form.answer == "json_schema":
            request["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "region", "strict": True, "schema": SCHEMA},
            }
        if form.ttl:
            request["ttl"] = self.settings.ttl_s
        return request


async def until_answered(
    client: Client,
    request: Mapping[str, Any],
    *,
    prompt: str,
    patience_s: float,
    give_up: Callable[[], bool],
) -> Answer:
    """Ask until there is an answer, ATTEMPTS times at most.

    ``patience_s``: a server that wants to be left alone for longer is. Raises BadAnswer, Refused,
    Transient or Unreachable.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            body = await client.ask(request)
        except Transient as failure:
            if attempt == ATTEMPTS or give_up():
                raise
            # Jitter: else the regions that failed together come back together.
            wait = BACK_OFF_S * 2 ** (attempt - 1) * random.uniform(0.5, 1.5)
            if failure.wait_s is not None:
                if failure.wait_s > patience_s:
                    raise
                wait = failure.wait_s + 0.1 * wait
            await asyncio.sleep(wait)
            continue
        try:
            return read(body, prompt)
        except SaidError as error:
            raise client.said(str(error)) from None
    raise AssertionError("unreachable")


async def best_of_two(
    first: Callable[[], Awaitable[Answer]], second: Callable[[], Awaitable[Answer]]
) -> Answer:
    """The first answer; the second one where that is none or breaks off, if it is any better."""
    answer: Answer | None = None
    with suppress(BadAnswer):
        answer = await first()
        if not answer.truncated:
            return answer
    try:
        other = await second()
    except (BadAnswer, Refused, Transient):
        if answer is None:
            raise
        return answer
    return other if answer is None or not other.truncated else answer


class ShownRegion:
    """One region, as it is shown first."""

    def __init__(
        self, question: Question, image: BgrImage, region: Region, overview: Overview | None
    ) -> None:
        """Compose its pictures."""
        self._question = question
        self._image = image
        self._region = region
        self._scene = () if overview is None else (overview.of(region),)
        self._mode: Mode = question.settings.picture_mode
        self.pictures = self._composed(self._mode)

    def _composed(self, mode: Mode) -> tuple[BgrImage, ...]:
        return (pictures.compose(self._image, self._region, mode), *self._scene)

    async def ask(self, model: str, give_up: Callable[[], bool]) -> Answer:
        """The words of the region.

        An answer that is no description, or breaks off, is asked for once more, with another
        picture. Of one that breaks off again, what is whole is taken. Raises BadAnswer, Refused,
        Transient (no answer, often enough) or Unreachable.
        """
        other: Mode = "dim" if self._mode == "outline" else "outline"

        def ask(images: Sequence[BgrImage], mode: Mode) -> Awaitable[Answer]:
            return self._question.in_some_form(images, mode, model, give_up)

        return await best_of_two(
            lambda: ask(self.pictures, self._mode), lambda: ask(self._composed(other), other)
        )
