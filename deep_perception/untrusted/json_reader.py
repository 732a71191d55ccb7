"""The one reader of JSON that others have written."""

from __future__ import annotations

import json
import re
from math import isfinite
from typing import Any

from deep_perception.untrusted import UntrustedError

# Bytes or characters of a JSON text: an answer, a row of a cache, a line of a journal.
LIMIT = 1 << 20
# Lists and objects within each other. Nothing that this package reads has more than 20.
MAX_DEPTH = 64
_SURROGATE = re.compile("[\ud800-\udfff]")


def read_json(text: bytes | str, *, limit: int = LIMIT, non_finite: float | None = None) -> Any:
    """Return the value of a JSON text, which ``json.dumps`` and UTF-8 can encode again.

    NaN and Infinity, which JSON does not have, are ``non_finite``, and lone surrogates are U+FFFD.
    Raises UntrustedError for a text that is longer than ``limit``, deeper than ``MAX_DEPTH``, or no
    JSON.
    """
    if len(text) > limit:
        raise UntrustedError(f"has {len(text)} bytes of JSON, more than {limit}")
    try:
        value = json.loads(
            text,
            parse_constant=lambda name: non_finite,
            # 1e999 is JSON, and infinite for Python.
            parse_float=lambda digits: number if isfinite(number := float(digits)) else non_finite,
        )
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:  # Also bytes that are no Unicode, and numbers of 5000 digits.
        raise UntrustedError(f"is no JSON ({error})") from None
    return _checked(value, 0)


def _checked(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if depth > MAX_DEPTH:
        raise _too_deep()
    if isinstance(value, list):
        return [_checked(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {_checked(key, depth): _checked(item, depth + 1) for key, item in value.items()}
    return value


def _too_deep() -> UntrustedError:
    return UntrustedError(f"has more than {MAX_DEPTH} lists and objects within each other")
