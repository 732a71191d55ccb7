"""Describes with DAM (Describe Anything Model) in our server or NVIDIA's ``dam_server.py``.

Lian et al. 2025, "Describe Anything: Detailed Localized Image and Video Captioning".
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from deep_perception import masks
from deep_perception.describers.dam.process import DamProcess
from deep_perception.describers.prompts import prompt_id, read_prompt
from deep_perception.describers.server.answers import Answer
from deep_perception.describers.server.client import (
    READINESS_TIMEOUT_S,
    Client,
    RequestRefused,
    ServerUnavailable,
    TransientError,
    WrongPath,
)
from deep_perception.describers.server.describer import ServerDescriber
from deep_perception.describers.server.listing import ChosenModel
from deep_perception.describers.server.retry import better_of_two, request_until_answered
from deep_perception.images import BgrImage
from deep_perception.masks import Box
from deep_perception.regions import Region
from deep_perception.settings import DescriberSettings, Settings
from deep_perception.settings.options import settings_from

# NVIDIA's server accepts this name for any model that it has loaded.
MODEL = "describe_anything_model"
# DAM scales the whole image and a crop of three times the region's box to 384 px each.
LONG_EDGE = 1536
FOCAL = 3.0
# Seconds between two checks of a server that is loading its model.
LOADING_CHECK_S = 1.0


class Dam(ServerDescriber):
    """The describer ``dam``. If it manages the server, it starts it at once."""

    name = "dam"

    def __init__(self, settings: Settings) -> None:
        """Read the prompt and start the server. Raises BackendUnavailable."""
        dam = settings.describer.dam
        dam_settings = settings_from(
            {"describer.url": dam.url, "describer.api_key_env": dam.api_key_env}, settings
        ).describer
        self._process = DamProcess(settings.describer) if dam.manage_server else None
        client = DamClient(dam_settings, self._process)
        super().__init__(settings, client, DamRequestBuilder(client, dam_settings), MODEL)
        if self._process:
            self._process.start()

    def close(self) -> None:
        """Close the describer, and stop the server if it was started here."""
        super().close()
        if self._process:
            self._process.close()


class DamClient(Client):
    """A client that knows how to tell whether a DAM server is ready."""

    # NVIDIA's server has no /v1, ours takes both.
    group, prefer_v1 = "describer.dam", False

    def __init__(self, settings: DescriberSettings, process: DamProcess | None) -> None:
        """``process``: the managed server, None if it is not managed. Raises BackendUnavailable."""
        super().__init__(settings)
        self._process = process
        self._model = ChosenModel(MODEL, settings.dam.max_batch)

    async def choose_model(self) -> ChosenModel:
        """Return the only model of the server. Raises ServerUnavailable."""
        if self._process:
            state = self._process.state()
            if state.message:
                loading = state.kind in ("starting", "loading")
                raise ServerUnavailable(state.message, LOADING_CHECK_S if loading else None)
        try:
            await self._send("get", f"{self._root}/health", READINESS_TIMEOUT_S)
        except TransientError as error:
            raise ServerUnavailable(str(error), error.retry_after_s) from None
        except (RequestRefused, WrongPath):
            pass  # NVIDIA's server has no /health.
        return self._model


class DamRequestBuilder:
    """Makes requests to a DAM server with one prompt."""

    warnings = ()

    def __init__(self, client: Client, settings: DescriberSettings) -> None:
        """Read the prompt. Raises BackendUnavailable."""
        self._client = client
        self._settings = settings
        self._prompt = read_prompt(settings.prompt or "dam")
        self.prompt_id = prompt_id(self._prompt)
        dam = settings.dam
        self._sampling = {
            "max_tokens": dam.max_tokens,
            "temperature": settings.temperature,
            "top_p": dam.top_p,
            "num_beams": dam.num_beams,
        }
        self.cache_key_texts = (
            self._prompt, json.dumps(self._sampling), dam.precision, dam.checkpoint,
        )  # fmt: skip

    def for_image(self, image: BgrImage) -> Callable[[Region], DamRegionRequest]:
        """Return a function that makes the request for a region of this HxWx3 BGR source image."""
        return lambda region: DamRegionRequest(self, image, region)

    async def send(
        self, image: NDArray[np.uint8], model: str, give_up: Callable[[], bool]
    ) -> Answer:
        """Return the description of the region in an HxWx4 image, whose alpha channel is the mask.

        Raises as ``request_until_answered`` does.
        """
        # The encoding of a large image would block the event loop for too long.
        url = await asyncio.to_thread(to_data_url, image)
        image_part = {"type": "image_url", "image_url": {"url": url}}
        content = [image_part, {"type": "text", "text": self._prompt}]
        return await request_until_answered(
            self._client,
            {"model": model, "messages": [{"role": "user", "content": content}], **self._sampling},
            prompt=self._prompt,
            patience_s=self._settings.region_timeout_s,
            give_up=give_up,
        )


class DamRegionRequest:
    """The request for one region, with the whole image first."""

    def __init__(self, builder: DamRequestBuilder, image: BgrImage, region: Region) -> None:
        """Compose the image."""
        self._builder = builder
        self._image = image
        self._region = region
        self._bounds = Box(0, 0, *masks.size_of(image))
        self.images = (compose(image, region, self._bounds),)

    async def send(self, model: str, give_up: Callable[[], bool]) -> Answer:
        """Return the description. After a bad answer, only the region's surroundings are sent."""

        def surroundings() -> NDArray[np.uint8]:
            return compose(self._image, self._region, _around(self._region.box, self._bounds))

        return await better_of_two(
            lambda: self._builder.send(self.images[0], model, give_up),
            lambda: self._builder.send(surroundings(), model, give_up),
        )


def compose(image: BgrImage, region: Region, window: Box) -> NDArray[np.uint8]:
    """Return a window of an HxWx3 BGR source image as HxWx4, with the region in the alpha channel.

    Alpha is 255 in the region and 0 elsewhere. The colours are kept outside of the region too, so
    that the model sees what surrounds it.
    """
    crop = image[window.y1 : window.y2, window.x1 : window.x2]
    mask = region.source_mask(window).astype(np.uint8) * 255
    scale = LONG_EDGE / max(window.width, window.height)
    if scale < 1:
        size = max(1, round(window.width * scale)), max(1, round(window.height * scale))
        crop = cv2.resize(crop, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
        # INTER_AREA keeps a region of a few pixels: DAM fails on an empty mask.
        mask = (cv2.resize(mask, size, interpolation=cv2.INTER_AREA) > 0).astype(np.uint8) * 255
    composed: NDArray[np.uint8] = np.dstack([crop, mask])
    return composed


def to_data_url(image: NDArray[np.uint8]) -> str:
    """Return an HxWx4 BGRA image as a ``data:`` URL with a PNG."""
    done, data = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not done:
        raise ValueError(f"an image of shape {image.shape} cannot be encoded as PNG")
    return "data:image/png;base64," + base64.b64encode(data.tobytes()).decode()


def _around(box: Box, bounds: Box) -> Box:
    side = FOCAL * max(box.width, box.height, 16)
    x, y = (box.x1 + box.x2) / 2, (box.y1 + box.y2) / 2
    return Box(
        max(bounds.x1, int(x - side / 2)), max(bounds.y1, int(y - side / 2)),
        min(bounds.x2, int(x + side / 2) + 1), min(bounds.y2, int(y + side / 2) + 1),
    )  # fmt: skip
