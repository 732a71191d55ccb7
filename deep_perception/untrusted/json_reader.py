"""The one reader of JSON that others have written."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from deep_perception.untrusted import UntrustedError

# Bytes or characters of a JSON text: an answer, a row of a cache, a line of a journal.
LIMIT = 1 << 20
# Lists and objects within each other. Nothing that this package reads has more than 20.
MAX_DEPTH = 64
_SURROGATE = re.compile("[\ud800-\udfff]")


def read_json(text: bytes | str, *, limit: int = LIMIT) -> Any:
    """Return the value of a JSON text, which ``json.dumps`` and UTF-8 can encode again.

    NaN, Infinity and 1e999, which JSON does not have, are None, and lone surrogates are U+FFFD.
    Raises UntrustedError for a text that is longer than ``limit``, deeper than ``MAX_DEPTH``, or no
    JSON.
    """
    if len(text) > limit:
        raise UntrustedError(f"has {len(text)} bytes of JSON, more than {limit}")
    try:
        value = json.loads(text, parse_constant=lambda name: None)
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:  # Also bytes that are no Unicode, and numbers of 5000 digits.
        raise UntrustedError(f"is no JSON ({error})") from None
    return checked(value)


def checked(value: Any, depth: int = 0) -> Any:
    """Return a value of JSON as ``read_json`` does, for a reader of texts that only mean JSON.

    Raises UntrustedError for one that is deeper than ``MAX_DEPTH``.
    """
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if depth > MAX_DEPTH:
        raise _too_deep()
    if isinstance(value, list):
        return [checked(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {checked(key, depth): checked(item, depth + 1) for key, item in value.items()}
    return value


def _too_deep() -> UntrustedError:
    return UntrustedError(f"has more than {MAX_DEPTH} lists and objects within each other")
