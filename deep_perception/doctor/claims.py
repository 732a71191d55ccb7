"""What a running node says about its settings, and how much of it is believed.

Every peer of the graph can offer the services of an analyzer node. So what one says decides neither
which server is asked, nor which token it gets, nor which module is looked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deep_perception import describers, segmenters
from deep_perception.describers.server.listing import LONGEST_NAME
from deep_perception.doctor import Finding
from deep_perception.doctor.server import SECTION
from deep_perception.redaction.addresses import shown
from deep_perception.settings import Settings
from deep_perception.settings.options import settings_from
from deep_perception.untrusted.text import printable


def like_the_node(said: Mapping[str, Any], own: Settings) -> tuple[Settings, list[Finding]]:
    """Return one's own settings with the backends of a node, and what was not believed.

    ``said`` are the values of the node by the names of settings. The backends are taken if this
    package has them, and a chat server only if it is the one of ``own``.
    """
    changes: dict[str, Any] = {}
    for kind, registry in (
        ("segmenter", segmenters.REGISTRY),
        ("describer", describers.REGISTRY),
    ):
        for name in (f"{kind}.backend", f"{kind}.fallback"):
            if isinstance(value := said.get(name), str) and value in registry:
                changes[name] = value
    if changes.get("describer.backend") != "chat":
        return settings_from(changes, own), []
    url, model = said.get("describer.url"), said.get("describer.model")
    if url == shown(own.describer.url):
        if isinstance(model, str) and len(model) <= LONGEST_NAME:
            changes["describer.model"] = model
        return settings_from(changes, own), []
    del changes["describer.backend"]
    finding = Finding(
        section=SECTION,
        level="note",
        what=f"the node says that its server is {printable(repr(url))}; it was not asked, because "
        "any peer of the graph could say so",
        remedy="deep_perception doctor --describer.backend chat --describer.url URL, with the URL "
        "that you gave the node",
    )
    return settings_from(changes, own), [finding]
