"""What a list of models says about one of them: whether it writes text, and takes images.

Servers say it in different fields: ``type`` (LM Studio, Together, AI gateways), ``model_type`` and
``model_ability`` (Xinference), ``capabilities`` (Ollama, llama.cpp, Mistral), ``architecture``
(OpenRouter), ``task`` (GitHub), ``labels`` (Lemonade), ``kind`` (Fireworks), ``mode`` (LiteLLM),
``categories`` (GPUStack). Most of them list names only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

_FIELDS = (
    "type", "model_type", "model_ability", "abilities", "kind", "task", "tasks", "mode",
    "pipeline_tag", "category", "categories", "capabilities", "labels", "modality", "architecture",
)  # fmt: skip
_INPUT_FIELDS = (*_FIELDS, "input_modalities", "modalities")
_WRITES = re.compile(
    r"^text$|->text$|(?:^|\W)(?:chat|completions?(?:_chat)?|llm|vlm|text-generation|generate"
    r"|image-text-to-text|language)(?:$|\W)"
)
_OTHER = re.compile(
    r"(?:^|[\W_])(?:embed(?:dings?|der|s)?(?:_model)?|feature-extraction|sentence-similarity"
    r"|re-?rank(?:er|ing)?|text-ranking|score|classif\w*|moderation|audio|speech\w*|whisper|stt|tts"
    r"|asr|automatic-speech-recognition|text-to-(?:speech|image|video)|transcription\w*|image"
    r"|text2image|diffusion|text->image)(?:$|[\W_])"
)
_VISION = re.compile(r"(?:^|\W)(?:vision|vlm|multimodal|image|image-text-to-text)(?:$|\W)")
# Texts of a model that are read, and their characters.
_MOST_TEXTS, _LONGEST_TEXT = 100, 200
# A part of the name of a model that does something else. "embedded" is none.
_NAME = re.compile(
    r"(?:embed(?:s|der|ding|dings|dinggemma|qa)?|nv-?embed\w*|embeddinggemma|rerank(?:er|ing)?|bge"
    r"|gte|e5|minilm|mpnet|colbert\w*|colpali|splade|whisper|parakeet|tts|stt|asr|kokoro|piper"
    r"|bark|moderation|dall|sdxl|flux\d?|diffusion)"
)


def writes_text(entry: Mapping[str, Any], name: str) -> bool:
    """Whether a listed model may describe: neither its fields nor its name say otherwise."""
    said = list(_said(entry, _FIELDS, inputs=False))
    if any(_WRITES.search(text) for text in said):
        return True
    if any(_OTHER.search(text) for text in said):
        return False
    return not any(_NAME.fullmatch(part) for part in re.split(r"[^a-z0-9]+", base_name(name)))


def takes_images(entry: Mapping[str, Any]) -> bool:
    """Whether the fields of a listed model say that it takes images."""
    said = _said(entry, _INPUT_FIELDS, inputs=True)
    # What is behind an arrow is made, not taken.
    return any(_VISION.search(text.partition("->")[0]) for text in said)


def base_name(name: str) -> str:
    """Return the last part of a name, which may be a path, in lower case.

    The folders in front of it say nothing: ``/home/embedded/models/qwen-vl.gguf``.
    """
    parts = [part for part in re.split(r"[/\\]", name.lower()) if part]
    if "snapshots" in parts[1:]:  # the hub's cache: models--owner--name/snapshots/commit
        return parts[parts.index("snapshots") - 1].rpartition("--")[2]
    return parts[-1] if parts else ""


def _said(entry: Mapping[str, Any], fields: tuple[str, ...], *, inputs: bool) -> Iterator[str]:
    texts = (text for field in fields for text in _texts(entry.get(field), inputs=inputs))
    return (text[:_LONGEST_TEXT].lower() for text in islice(texts, _MOST_TEXTS))


def _texts(value: object, *, inputs: bool) -> Iterator[str]:
    """Yield the texts of a field, and the names that are true; ``inputs``: or what is taken."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item, inputs=inputs)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if item is True:
                yield str(key)
            elif not isinstance(item, bool) and not str(key).startswith(
                "output" if inputs else "input"
            ):
                yield from _texts(item, inputs=inputs)
