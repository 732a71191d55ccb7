"""Choose the model of a chat server from its list of models, or say what the user has to do.

LM Studio describes its models at ``/api/v1/models`` (from 0.4.0) or ``/api/v0/models`` (from
0.3.6). ``/v1/models``, which every server has, lists downloaded models and does not say which ones
are loaded.
"""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from deep_perception.describers.server.model_kinds import base_name, takes_images, writes_text
from deep_perception.untrusted.text import listed, printable

# Characters of a name: it may be the path of a file, and is sent as it is.
LONGEST_NAME = 1000
# Characters of a name that a message quotes, and the names that it lists.
QUOTED_NAME, QUOTED_NAMES = 120, 8
# Models whose fields are read, and names that a wrong one is compared with. A gateway may have ten
# thousands, of which the wanted one is found by its name alone.
MOST_READ, MOST_COMPARED = 2000, 500


class NoUsableModel(Exception):
    """The server answers but has no usable model; the message says what to do.

    ``unloaded``: the wanted model if it only has to be loaded, else ""; ``loading``: whether LM
    Studio is already loading it.
    """

    def __init__(self, message: str, *, unloaded: str = "", loading: bool = False) -> None:
        """Store the message and the state of the model."""
        super().__init__(message)
        self.unloaded, self.loading = unloaded, loading


@dataclass(frozen=True)
class ChosenModel:
    """A model and how many requests its server handles at once, 0 if unknown."""

    name: str
    parallel: int = 0


@dataclass(frozen=True)
class _ListedModel:
    name: str
    instances: tuple[ChosenModel, ...]
    """The loaded instances."""
    vision: bool
    loading: bool = False


def choose_model(path: str, body: object, wanted: str) -> ChosenModel | None:
    """Return the model of one of the three listings, None if the body is no such listing.

    Raises NoUsableModel.
    """
    entries = body
    if isinstance(body, Mapping):
        own = path == "/api/v1/models"
        entries = body.get("models") if own or "data" not in body else body["data"]
    if not isinstance(entries, list):
        return None
    if path == "/v1/models":
        # Some servers list names only.
        entries = [{"id": entry} if isinstance(entry, str) else entry for entry in entries]
    else:
        entries = entries[:MOST_READ]
    entries = [entry for entry in entries if isinstance(entry, Mapping)]
    if path == "/api/v1/models":
        models = [_from_v1(entry) for entry in entries if _generates(entry, "key")]
        return _choose_loaded([model for model in models if model.name], wanted)
    if path == "/api/v0/models":
        models = [_from_v0(entry) for entry in entries if _generates(entry, "id")]
        return _choose_loaded([model for model in models if model.name], wanted)
    return _choose_by_name(entries, wanted)


def _generates(entry: Mapping[str, Any], key: str) -> bool:
    return writes_text(entry, model_name(entry.get(key)))


def model_name(value: object) -> str:
    """Return the name of a model in a server's answer, "" for anything that is none.

    A name is sent, shown, and published. It has no control characters, and no part of a character,
    which is U+FFFD here.
    """
    if not isinstance(value, str) or len(value) > LONGEST_NAME:
        return ""
    return value if value.isprintable() and "\ufffd" not in value else ""


def _from_v1(entry: Mapping[str, Any]) -> _ListedModel:
    name = model_name(entry.get("key"))
    capabilities = entry.get("capabilities")
    loaded = entry.get("loaded_instances")
    return _ListedModel(
        name,
        tuple(
            ChosenModel(model_name(instance.get("id")) or name, _parallel(instance.get("config")))
            for instance in (loaded if isinstance(loaded, list) else ())
            if isinstance(instance, Mapping)
        ),
        isinstance(capabilities, Mapping) and bool(capabilities.get("vision")),
    )


def _parallel(config: object) -> int:
    value = config.get("parallel") if isinstance(config, Mapping) else None
    # True is an int, too.
    return min(64, value) if type(value) is int and value > 0 else 0


def _from_v0(entry: Mapping[str, Any]) -> _ListedModel:
    name = model_name(entry.get("id"))
    instances = (ChosenModel(name),) if entry.get("state") == "loaded" else ()
    return _ListedModel(
        name, instances, entry.get("type") == "vlm", entry.get("state") == "loading"
    )


def _choose_loaded(models: Sequence[_ListedModel], wanted: str) -> ChosenModel:
    """Return the wanted model, or the first loaded one that takes images if none is wanted."""
    vision_models = [model for model in models if model.vision]
    if wanted:
        return _find_wanted(models, vision_models, wanted)
    loaded = [model for model in models if model.instances]
    for model in loaded:
        if model.vision:
            return model.instances[0]
    if loaded:
        raise NoUsableModel(f"{_text_only(loaded)}; {_advice(vision_models)}")
    for model in vision_models:
        if model.loading:
            raise NoUsableModel(f"LM Studio is loading {_quoted(model.name)}", loading=True)
    raise NoUsableModel(f"no model is loaded; {_advice(vision_models)}")


def _find_wanted(
    models: Sequence[_ListedModel], vision_models: Sequence[_ListedModel], wanted: str
) -> ChosenModel:
    for model in models:
        for instance in model.instances:
            if wanted in (model.name, instance.name):
                if not model.vision:
                    raise NoUsableModel(f"{_text_only([model])}; {_advice(vision_models)}")
                return instance
    found = next((model for model in models if model.name == wanted), None)
    if found is None:
        hint = _suggestion(wanted, [model.name for model in models])
        raise NoUsableModel(f"there is no model {wanted!r}{hint}; {_advice(vision_models)}")
    if not found.vision:
        raise NoUsableModel(f"model {wanted!r} takes text only; {_advice(vision_models)}")
    if found.loading:
        raise NoUsableModel(f"LM Studio is loading {wanted!r}", loading=True)
    raise NoUsableModel(f"model {wanted!r} is not loaded: {how_to_load(wanted)}", unloaded=wanted)


def _text_only(models: Sequence[_ListedModel]) -> str:
    names = ", ".join(_quoted(model.name) for model in models[:QUOTED_NAMES])
    return f"the loaded model {names} takes text only"


def _advice(vision_models: Sequence[_ListedModel]) -> str:
    if not vision_models:
        return (
            "download a vision model in LM Studio (Discover, filter 'Vision') and load it "
            "(Developer > Select a model to load)"
        )
    loaded = [model.name for model in vision_models if model.instances]
    if loaded:
        return f"set describer.model to {_quoted(loaded[0])}, or leave it empty"
    name = vision_models[0].name
    return f"of the downloaded models {_quoted(name)} takes images: {how_to_load(name)}"


def how_to_load(name: str) -> str:
    """Return what the user has to do to load a model in LM Studio."""
    # The name is the server's, and the line is for a shell.
    command = f"lms load {shlex.quote(name)}"
    return f"load it in LM Studio (Developer > Select a model to load) or run: {command}"


def _quoted(name: str) -> str:
    return repr(printable(name, QUOTED_NAME))


def _choose_by_name(entries: Sequence[Mapping[str, Any]], wanted: str) -> ChosenModel:
    named: dict[str, Mapping[str, Any]] = {}
    for entry in entries:
        names = (model_name(entry.get(key)) for key in ("id", "model", "name", "key"))
        if name := next(filter(None, names), ""):
            named[name] = entry
    # `transformers serve FOLDER` lists its cache, which does not hold the model of the folder.
    if wanted and (wanted in named or not named):
        return ChosenModel(wanted)
    read = islice(named.items(), MOST_READ)
    candidates = [name for name, entry in read if writes_text(entry, name)]
    if wanted:
        same = [name for name in named if _is_short_for(wanted, name)]
        if len(same) == 1:
            return ChosenModel(same[0])
        hint = _suggestion(wanted, candidates)
        raise NoUsableModel(f"there is no model {wanted!r}{hint}{_list(candidates)}")
    if not candidates:
        others = ", ".join(map(_quoted, islice(named, QUOTED_NAMES)))
        reason = f" that writes text ({others} does not)" if named else ""
        raise NoUsableModel(
            f"the server lists no model{reason}; load one that takes images, or set "
            "describer.model if it loads models on demand"
        )
    if len(candidates) > 1:
        # Few servers say it.
        candidates = [name for name in candidates if takes_images(named[name])] or candidates
    if len(candidates) == 1:
        return ChosenModel(candidates[0])
    raise NoUsableModel(f"set describer.model to one that takes images{_list(candidates)}")


def _is_short_for(wanted: str, name: str) -> bool:
    """Whether the user named a file without its folder, or a model of Ollama without its tag."""
    file = base_name(name)
    return wanted.lower() in (file, file.removesuffix(".gguf"), file.removesuffix(":latest"))


def _list(names: Sequence[str]) -> str:
    return f"; the server has {listed(names, QUOTED_NAMES, limit=QUOTED_NAME) or 'none'}"


def _suggestion(wanted: str, names: Sequence[str]) -> str:
    # The comparison of two texts takes a time that grows with the product of their lengths.
    short = [name for name in names[:MOST_COMPARED] if len(name) <= QUOTED_NAME]
    near = difflib.get_close_matches(wanted[:QUOTED_NAME], short, n=1)
    return f"; did you mean {_quoted(near[0])}?" if near else ""
