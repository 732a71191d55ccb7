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


class NoJson(UntrustedError):
    """A text is no JSON, or only its begin."""


def read_json(text: bytes | str, *, limit: int = LIMIT, non_finite: float | None = None) -> Any:
    """Return the value of a JSON text, which ``json.dumps`` and UTF-8 can encode again.

    NaN, Infinity and 1e999, which JSON does not have, are ``non_finite``, and lone surrogates are
    U+FFFD. Raises NoJson, and UntrustedError for a text that is longer than ``limit`` or deeper
    than ``MAX_DEPTH``.
    """
    if len(text) > limit:
        raise UntrustedError(f"has {len(text)} bytes of JSON, more than {limit}")
    try:
        value = json.loads(text)
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:  # Also bytes that are no Unicode, and numbers of 5000 digits.
        raise NoJson(f"is no JSON ({error})") from None
    return checked(value, non_finite=non_finite)


def checked(value: Any, *, non_finite: float | None = None, depth: int = 0) -> Any:
    """Return a value of JSON as ``read_json`` does, for a reader of texts that only mean JSON.

    Raises UntrustedError for one that is deeper than ``MAX_DEPTH``.
    """
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, float):
        return value if math.isfinite(value) else non_finite
    if not isinstance(value, (list, dict)):
        return value
    if depth > MAX_DEPTH:
        raise _too_deep()

    def check(part: Any) -> Any:
        return checked(part, non_finite=non_finite, depth=depth + 1)

    if isinstance(value, list):
        return [check(item) for item in value]
    return {check(key): check(item) for key, item in value.items()}


def _too_deep() -> UntrustedError:
    return UntrustedError(f"has more than {MAX_DEPTH} lists and objects within each other")
