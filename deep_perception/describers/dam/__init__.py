"""Words from DAM (Describe Anything Model) behind our server or NVIDIA's ``dam_server.py``.

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
from deep_perception.describers.chat.question import best_of_two, until_answered
from deep_perception.describers.dam.process import DamProcess
from deep_perception.describers.prompts import prompt_id, read_prompt
from deep_perception.describers.server.answers import Answer
from deep_perception.describers.server.client import (
    READINESS_TIMEOUT_S,
    Client,
    Refused,
    Transient,
    Unreachable,
)
from deep_perception.describers.server.describer import ServerDescriber
from deep_perception.describers.server.listing import Chosen
from deep_perception.images import BgrImage
from deep_perception.masks import Box
from deep_perception.regions import Region
from deep_perception.settings import DescriberSettings, Settings
from deep_perception.settings.options import settings_from

# The name that NVIDIA's server takes for whatever it has loaded.
MODEL = "describe_anything_model"
# DAM sees 384 px: the whole picture, and three times the region's box.
LONG_EDGE = 1536
FOCAL = 3.0
# A server that is loading its model is looked at this often.
LOOK_S = 1.0


class Dam(ServerDescriber):
    """The server is started at once, where that is set, and used when it has loaded its model."""

    name = "dam"

    def __init__(self, settings: Settings) -> None:
        """Raises BackendUnavailable."""
        dam = settings.describer.dam
        theirs = settings_from(
            {"describer.url": dam.url, "describer.api_key_env": dam.api_key_env}, settings
        ).describer
        self._process = DamProcess(settings.describer) if dam.manage_server else None
        client = DamClient(theirs, self._process)
        super().__init__(settings, client, Question(client, theirs), MODEL)
        if self._process:
            self._process.start()

    def close(self) -> None:
        """Stop the server too, if it was started here."""
        super().close()
        if self._process:
            self._process.close()


class DamClient(Client):
    """Knows when a DAM server is ready."""

    def __init__(self, settings: DescriberSettings, process: DamProcess | None) -> None:
        """``process``: the server that is started here, if it is. Raises BackendUnavailable."""
        super().__init__(settings)
        self._process = process
        self._chosen = Chosen(MODEL, settings.dam.max_batch)

    async def choose_model(self) -> Chosen:
        """The one model that there is. Raises Unreachable."""
        if self._process:
            state = self._process.state()
            if state.message:
                loading = state.kind in ("starting", "loading")
                raise Unreachable(state.message, LOOK_S if loading else None)
        try:
            await self._send("get", f"{self._root}/health", READINESS_TIMEOUT_S)
        except Transient as error:
            raise Unreachable(str(error), error.wait_s) from None
        except Refused:
            pass  # NVIDIA's server cannot be asked how it is
        return self._chosen


class Question:
    """Asks with one prompt."""

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
        self.shaped_by = (self._prompt, json.dumps(self._sampling), dam.precision, dam.checkpoint)

    def looking_at(self, image: BgrImage) -> Callable[[Region], ShownRegion]:
        """How a region of this HxWx3 BGR source image is shown."""
        return lambda region: ShownRegion(self, image, region)

    async def ask(
        self, picture: NDArray[np.uint8], model: str, give_up: Callable[[], bool]
    ) -> Answer:
        """The words of the region that an HxWx4 picture shows. Raises as until_answered does."""
        # Beside the loop: of a large picture it takes longer than an answer should wait.
        url = await asyncio.to_thread(to_data_url, picture)
        image = {"type": "image_url", "image_url": {"url": url}}
        content = [image, {"type": "text", "text": self._prompt}]
        return await until_answered(
            self._client,
            {"model": model, "messages": [{"role": "user", "content": content}], **self._sampling},
            prompt=self._prompt,
            patience_s=self._settings.region_timeout_s,
            give_up=give_up,
        )


class ShownRegion:
    """One region: first in the whole picture."""

    def __init__(self, question: Question, image: BgrImage, region: Region) -> None:
        """Compose its picture."""
        self._question = question
        self._image = image
        self._region = region
        self._bounds = Box(0, 0, *masks.size_of(image))
        self.pictures = (compose(image, region, self._bounds),)

    async def ask(self, model: str, give_up: Callable[[], bool]) -> Answer:
        """The words. After no good answer the model sees the region's surroundings only."""

        def surroundings() -> NDArray[np.uint8]:
            return compose(self._image, self._region, _around(self._region.box, self._bounds))

        return await best_of_two(
            lambda: self._question.ask(self.pictures[0], model, give_up),
            lambda: self._question.ask(surroundings(), model, give_up),
        )


def compose(image: BgrImage, region: Region, window: Box) -> NDArray[np.uint8]:
    """A window of an HxWx3 BGR source image as HxWx4: alpha is 255 in the region, 0 elsewhere.

    The colours stay outside of it too: the model is to see what surrounds the region.
    """
    crop = image[window.y1 : window.y2, window.x1 : window.x2]
    mask = region.source_mask(window).astype(np.uint8) * 255
    scale = LONG_EDGE / max(window.width, window.height)
    if scale < 1:
        size = max(1, round(window.width * scale)), max(1, round(window.height * scale))
        crop = cv2.resize(crop, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
        # A region of a few pixels must not vanish: DAM breaks on an empty mask.
        mask = (cv2.resize(mask, size, interpolation=cv2.INTER_AREA) > 0).astype(np.uint8) * 255
    picture: NDArray[np.uint8] = np.dstack([crop, mask])
    return picture


def to_data_url(picture: NDArray[np.uint8]) -> str:
    """PNG of an HxWx4 BGRA picture as a ``data:`` URL."""
    done, data = cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not done:
        raise ValueError(f"no PNG can be made of {picture.shape}")
    return "data:image/png;base64," + base64.b64encode(data.tobytes()).decode()


def _around(box: Box, bounds: Box) -> Box:
    side = FOCAL * max(box.width, box.height, 16)
    x, y = (box.x1 + box.x2) / 2, (box.y1 + box.y2) / 2
    return Box(
        max(bounds.x1, int(x - side / 2)), max(bounds.y1, int(y - side / 2)),
        min(bounds.x2, int(x + side / 2) + 1), min(bounds.y2, int(y + side / 2) + 1),
    )  # fmt: skip
