"""The secrets that settings and the environment lead to: tokens, and passwords in addresses."""

from __future__ import annotations

import os
import urllib.request

from deep_perception.redaction import register
from deep_perception.redaction.addresses import register_address
from deep_perception.settings import Settings

# Tokens and addresses of the model hub, of Ray and of pip, whose errors are printed too.
_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "OPENAI_API_KEY", "RAY_AUTH_TOKEN")
_ADDRESSES = ("HF_ENDPOINT", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL")


def register_secrets(settings: Settings | None = None) -> None:
    """Register the secrets of the environment, and those of the servers in the settings."""
    for variable in _TOKENS:
        register(os.environ.get(variable, ""))
    for address in (*urllib.request.getproxies().values(), *map(os.environ.get, _ADDRESSES)):
        register_address(address or "")
    if settings is None:
        return
    describer = settings.describer
    for group in (describer, describer.dam):
        register_address(group.url)
        register(os.environ.get(group.api_key_env, ""))
