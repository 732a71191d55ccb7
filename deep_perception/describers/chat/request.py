"""The request to a chat server for the description of one region."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from deep_perception.describers import prompts
from deep_perception.describers.chat import region_images
from deep_perception.describers.chat.forms import ANSWERS, RequestForm
from deep_perception.describers.chat.region_images import Mode, Overview
from deep_perception.describers.prompts import prompt_id, read_prompt
from deep_perception.describers.server.answers import SCHEMA, Answer
from deep_perception.describers.server.client import (
    Client,
    RequestRefused,
    ServerUnavailable,
    TransientError,
)
from deep_perception.describers.server.refused_requests import (
    is_about_context,
    is_about_one_image,
)
from deep_perception.describers.server.retry import better_of_two, request_until_answered
from deep_perception.images import BgrImage
from deep_perception.regions import Region
from deep_perception.settings import DescriberSettings

log = logging.getLogger(__name__)


class ChatRequestBuilder:
    """Makes requests with one prompt, and remembers which form of them the server accepts."""

    def __init__(self, client: Client, settings: DescriberSettings) -> None:
        """Read the prompt and its additions. Raises BackendUnavailable."""
        self._client = client
        self.settings = settings
        self._prompt = read_prompt(settings.prompt or "region")
        self.prompt_id = prompt_id(self._prompt)
        additions = {name: read_prompt(name) for name in prompts.FORMS}
        # The keys are explained with a schema too: a server may ignore the schema.
        self._texts = {"json_schema": additions["json"], **additions}
        # The form that the server accepts is not part of the key: the cache is asked before it is
        # known.
        self.cache_key_texts = (
            self._prompt, *additions.values(), json.dumps(SCHEMA), settings.picture_mode,
            f"{settings.temperature!r} {settings.max_tokens} {settings.scene_picture} "
            f"{region_images.JPEG_QUALITY}",
        )  # fmt: skip
        self._form = RequestForm(
            ANSWERS[0], settings.scene_picture, settings.ttl_s > 0, settings.max_tokens
        )
        self._accepted: set[RequestForm] = set()
        # By setting: a server may refuse one a thousand times, each time in other words.
        self._left_out: dict[str, str] = {}

    @property
    def warnings(self) -> Sequence[str]:
        """The settings that the server refuses, one sentence each."""
        return tuple(self._left_out.values())

    def for_image(self, image: BgrImage) -> Callable[[Region], ChatRegionRequest]:
        """Return a function that makes the request for a region of this HxWx3 BGR source image."""
        overview = Overview(image) if self.settings.scene_picture else None
        return lambda region: ChatRegionRequest(self, image, region, overview)

    async def send(
        self,
        images: Sequence[BgrImage],
        mode: Mode,
        model: str,
        give_up: Callable[[], bool],
    ) -> Answer:
        """Return the answer to a request in the most demanding form that the server accepts.

        Raises BadAnswer, RequestRefused, TransientError (no answer after several attempts) or
        ServerUnavailable.
        """
        urls = [region_images.to_data_url(image) for image in images]
        form, refusal_text, tried = self._form, "", set()
        while True:
            tried.add(form)
            text = self._text(form, mode)
            request = self._request(model, text, urls if form.scene else urls[:1], form)
            try:
                answer = await request_until_answered(
                    self._client,
                    request,
                    prompt=text,
                    patience_s=self.settings.region_timeout_s,
                    give_up=give_up,
                )
            except RequestRefused as refusal:
                if refusal.no_vision:
                    raise ServerUnavailable(
                        f"model {model!r} takes text only ({refusal}); load a vision model"
                    ) from None
                if self._form not in tried:
                    form = self._form  # Another region has learnt meanwhile what is refused.
                    continue
                named = form.without_named(str(refusal))
                simpler = named
                if named is None and refusal.simpler_may_work:
                    simpler = form.simpler(str(refusal))
                if simpler is None and not self._accepted and not refusal.may_be_image:
                    simpler = form.bare(str(refusal))
                if simpler is None or simpler in tried:
                    raise self._final(refusal) from None
                if named is not None and form == self._form:
                    self._use_form(named, str(refusal))
                form, refusal_text = simpler, str(refusal)
                continue
            # A refusal that names no part of the form may be due to this image or to the moment:
            # the form changes only if another one works and the usual one never did.
            if form != self._form and self._form not in self._accepted:
                self._use_form(form, refusal_text)
            self._accepted.add(form)
            return answer

    def _final(self, refusal: RequestRefused) -> Exception:
        """Return the exception for a request that is refused in every form."""
        message = str(refusal)
        if self._accepted or is_about_one_image(message) or is_about_context(message):
            return refusal
        # It accepted nothing yet, so it most likely refuses what is in all requests: an image.
        return TransientError(message) if refusal.may_be_image else ServerUnavailable(message)

    def _use_form(self, form: RequestForm, refusal: str) -> None:
        before, self._form = self._form, form
        for setting, left_out in (
            ("scene_picture", before.scene and not form.scene),
            ("ttl_s", before.ttl and not form.ttl),
            ("temperature", before.temperature and not form.temperature),
            ("max_tokens", (before.limit and not form.limit) or form.tokens < before.tokens),
        ):
            if left_out:
                used = f"is {form.tokens}" if form.tokens < before.tokens else "is not used"
                warning = (
                    f"chat server {self._client.url}: describer.{setting} {used}, the server "
                    f"refuses it ({refusal})"
                )
                if setting not in self._left_out:
                    log.warning(warning)
                self._left_out[setting] = warning

    def _text(self, form: RequestForm, mode: Mode) -> str:
        parts = [self._prompt.replace("{surroundings}", region_images.SURROUNDINGS[mode])]
        if form.scene:
            parts.append(self._texts["scene"])
        return "\n\n".join([*parts, self._texts[form.answer]])

    def _request(
        self, model: str, text: str, urls: Sequence[str], form: RequestForm
    ) -> dict[str, Any]:
        images = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
        request: dict[str, Any] = {
            "model": model,
            "messages": [{"role": "user", "content": [{"type": "text", "text": text}, *images]}],
        }
        if form.limit:
            request[form.limit] = form.tokens
        if form.temperature:
            request["temperature"] = self.settings.temperature
        if form.stream is not None:
            request["stream"] = form.stream
        if form.answer == "json_schema":
            request["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "region", "strict": True, "schema": SCHEMA},
            }
        if form.ttl:
            request["ttl"] = self.settings.ttl_s
        return request


class ChatRegionRequest:
    """The request for one region, with the image mode of the settings first."""

    def __init__(
        self,
        builder: ChatRequestBuilder,
        image: BgrImage,
        region: Region,
        overview: Overview | None,
    ) -> None:
        """Compose the images."""
        self._builder = builder
        self._image = image
        self._region = region
        self._scene = () if overview is None else (overview.outline(region),)
        self._mode: Mode = builder.settings.picture_mode
        self.images = self._compose(self._mode)

    def _compose(self, mode: Mode) -> tuple[BgrImage, ...]:
        return (region_images.compose(self._image, self._region, mode), *self._scene)

    async def send(self, model: str, give_up: Callable[[], bool]) -> Answer:
        """Return the description of the region.

        After an answer that is no description or is truncated, a second request is sent with
        another image mode. If that is truncated too, the complete part is returned. Raises
        BadAnswer, RequestRefused, TransientError (no answer after several attempts) or
        ServerUnavailable.
        """
        other: Mode = "dim" if self._mode == "outline" else "outline"

        def send(images: Sequence[BgrImage], mode: Mode) -> Awaitable[Answer]:
            return self._builder.send(images, mode, model, give_up)

        return await better_of_two(
            lambda: send(self.images, self._mode), lambda: send(self._compose(other), other)
        )
