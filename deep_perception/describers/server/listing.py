"""Which model of a chat server is asked, or what the user has to do first.

LM Studio tells of itself at ``/api/v1/models`` (from 0.4.0) or ``/api/v0/models`` (from 0.3.6);
``/v1/models``, which every server has, lists what is downloaded and proves nothing about loading.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


class NotReady(Exception):
    """The server answers, but has no model for pictures; the message says what to do.

    ``unloaded``: the wanted model, if it only has to be loaded; ``loading``: that is being done.
    """

    def __init__(self, message: str, *, unloaded: str = "", loading: bool = False) -> None:
        """With what may help."""
        super().__init__(message)
        self.unloaded, self.loading = unloaded, loading


@dataclass(frozen=True)
class Chosen:
    """A model to ask and how many requests its server takes at once, 0: not known."""

    model: str
    parallel: int = 0


@dataclass(frozen=True)
class _Known:
    name: str
    loaded: tuple[Chosen, ...]
    vision: bool
    loading: bool = False


def choose(path: str, body: object, wanted: str) -> Chosen | None:
    """The model of one of the three listings, None when the body is no such listing.

    Raises NotReady.
    """
    if not isinstance(body, Mapping):
        return None
    entries = body.get("models" if path == "/api/v1/models" else "data")
    if not isinstance(entries, list):
        return None
    entries = [entry for entry in entries if isinstance(entry, Mapping)]
    if path == "/api/v1/models":
        return _of_lm_studio([_v1(entry) for entry in entries if _speaks(entry)], wanted)
    if path == "/api/v0/models":
        return _of_lm_studio([_v0(entry) for entry in entries if _speaks(entry)], wanted)
    return _of_any([str(entry.get("id", "")) for entry in entries], wanted)


def _speaks(entry: Mapping[str, Any]) -> bool:
    return not str(entry.get("type", "")).startswith("embedding")


def _v1(entry: Mapping[str, Any]) -> _Known:
    name = str(entry.get("key", ""))
    abilities = entry.get("capabilities")
    instances = [one for one in entry.get("loaded_instances") or () if isinstance(one, Mapping)]
    return _Known(
        name,
        tuple(
            Chosen(str(one.get("id") or name), _parallel(one.get("config"))) for one in instances
        ),
        isinstance(abilities, Mapping) and bool(abilities.get("vision")),
    )


def _parallel(config: object) -> int:
    value = config.get("parallel") if isinstance(config, Mapping) else None
    return min(64, value) if isinstance(value, int) and value > 0 else 0


def _v0(entry: Mapping[str, Any]) -> _Known:
    name = str(entry.get("id", ""))
    loaded = (Chosen(name),) if entry.get("state") == "loaded" else ()
    return _Known(name, loaded, entry.get("type") == "vlm", entry.get("state") == "loading")


def _of_lm_studio(known: Sequence[_Known], wanted: str) -> Chosen:
    seeing = [one for one in known if one.vision]
    loaded = [one for one in known if one.loaded]
    if wanted:
        for one in known:
            for instance in one.loaded:
                if wanted in (one.name, instance.model):
                    if not one.vision:
                        raise NotReady(f"{_blind([one])}; {_advice(seeing)}")
                    return instance
        names = [one.name for one in known]
        if wanted not in names:
            raise NotReady(f"there is no model {wanted!r}{_near(wanted, names)}; {_advice(seeing)}")
        found = next(one for one in known if one.name == wanted)
        if not found.vision:
            raise NotReady(f"model {wanted!r} takes text only; {_advice(seeing)}")
        if found.loading:
            raise NotReady(f"LM Studio is loading {wanted!r}", loading=True)
        raise NotReady(f"model {wanted!r} is not loaded: {how_to_load(wanted)}", unloaded=wanted)
    for one in loaded:
        if one.vision:
            return one.loaded[0]
    if loaded:
        raise NotReady(f"{_blind(loaded)}; {_advice(seeing)}")
    for one in seeing:
        if one.loading:
            raise NotReady(f"LM Studio is loading {one.name!r}", loading=True)
    raise NotReady(f"no model is loaded; {_advice(seeing)}")


def _blind(models: Sequence[_Known]) -> str:
    names = ", ".join(repr(one.name) for one in models)
    return f"the loaded model {names} takes text only"


def _advice(seeing: Sequence[_Known]) -> str:
    if not seeing:
        return (
            "download a vision model in LM Studio (Discover, filter 'Vision') and load it "
            "(Developer > Select a model to load)"
        )
    loaded = [one.name for one in seeing if one.loaded]
    if loaded:
        return f"set describer.model to {loaded[0]!r}, or leave it empty"
    return (
        f"of the downloaded ones {seeing[0].name!r} takes pictures: {how_to_load(seeing[0].name)}"
    )


def how_to_load(name: str) -> str:
    """What the user has to do."""
    return f"load it in LM Studio (Developer > Select a model to load) or run: lms load {name}"


def _of_any(names: Sequence[str], wanted: str) -> Chosen:
    chatting = [name for name in names if name and "embed" not in name.lower()]
    if wanted:
        # `transformers serve FOLDER` lists what is in its cache, where the folder's model is not.
        if wanted in chatting or not names:
            return Chosen(wanted)
        raise NotReady(f"there is no model {wanted!r}{_near(wanted, chatting)}{_list(chatting)}")
    if len(chatting) == 1:
        return Chosen(chatting[0])
    if not chatting:
        raise NotReady("the server lists no model; load one that takes pictures")
    raise NotReady(f"set describer.model to one that takes pictures{_list(chatting)}")


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return f"; the server has {', '.join(names[:8]) or 'none'}{more}"


def _near(wanted: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(wanted, names, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
