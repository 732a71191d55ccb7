"""What a describer built on ``ServerDescriber`` provides: how a region becomes a request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from deep_perception.describers.server.answers import Answer
from deep_perception.images import BgrImage
from deep_perception.regions import Region


class RegionRequest(Protocol):
    """A request for the description of one region."""

    @property
    def images(self) -> Sequence[BgrImage]:
        """All images of the request before they are encoded."""
        ...

    async def send(self, model: str, give_up: Callable[[], bool]) -> Answer:
        """Return the server's description.

        ``give_up`` tells whether another attempt makes no sense. Raises TransientError (no answer
        after several attempts), ServerUnavailable, or any other exception for a region that this
        server cannot describe.
        """
        ...


class RequestBuilder(Protocol):
    """Makes the requests of one describer."""

    @property
    def prompt_id(self) -> str:
        """The identifier of the prompt: the same for the same text."""
        ...

    @property
    def cache_key_texts(self) -> Sequence[str]:
        """All texts and settings that influence an answer, but the images and the model.

        They do not change after the construction.
        """
        ...

    @property
    def warnings(self) -> Sequence[str]:
        """The settings that the server does not support, one sentence each."""
        ...

    def for_image(self, image: BgrImage) -> Callable[[Region], RegionRequest]:
        """Return a function that makes the request for a region of this source image."""
        ...
