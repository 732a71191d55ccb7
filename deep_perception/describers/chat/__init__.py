"""Describes with LM Studio or any other OpenAI-compatible server."""

from __future__ import annotations

from deep_perception.describers.chat.request import ChatRequestBuilder
from deep_perception.describers.server.client import Client
from deep_perception.describers.server.describer import ServerDescriber
from deep_perception.settings import Settings


class Chat(ServerDescriber):
    """The describer ``chat``. It connects to the server with the first image."""

    name = "chat"

    def __init__(self, settings: Settings) -> None:
        """Read the prompt and import the client. Raises BackendUnavailable."""
        client = Client(settings.describer)
        requests = ChatRequestBuilder(client, settings.describer)
        super().__init__(settings, client, requests, settings.describer.model)
