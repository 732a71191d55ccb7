"""Words from LM Studio, or any other OpenAI-compatible server."""

from __future__ import annotations

from deep_perception.describers.chat.question import Question
from deep_perception.describers.server.client import Client
from deep_perception.describers.server.describer import ServerDescriber
from deep_perception.settings import Settings


class Chat(ServerDescriber):
    """The server is asked with the first picture."""

    name = "chat"

    def __init__(self, settings: Settings) -> None:
        """Read the prompt and import the client. Raises BackendUnavailable."""
        client = Client(settings.describer)
        question = Question(client, settings.describer)
        super().__init__(settings, client, question, settings.describer.model)
