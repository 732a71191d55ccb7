"""The token in an environment variable: read, checked, and named without its text."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator

from deep_perception.redaction import register

# What is printed as the name of a variable. A token may be set in place of the name, by mistake.
_NAME = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+|[A-Z]{1,16}")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAMES = {
    "\r": "a carriage return", "\n": "a line feed", "\t": "a tab", " ": "a space",
    "\xa0": "a no-break space", "\ufeff": "a byte order mark", "\u200b": "a zero-width space",
}  # fmt: skip
# No token begins with this; the word of the header was copied with it.
_SCHEME = re.compile(r"bearer\s+(?=\S)", re.IGNORECASE)


class TokenError(ValueError):
    """A token cannot be sent; the message says why, without its text."""


def read_token(variable: str, setting: str) -> str:
    """Return the token in an environment variable, "" without one, and register it as a secret.

    ``setting`` is the name of the setting that names the variable. Raises TokenError for a token
    that no header can carry.
    """
    if not variable:
        return ""
    if not _IDENTIFIER.fullmatch(variable):
        register(variable)
        raise TokenError(
            f"{setting} is no name of an environment variable; it expects a name such as "
            "LM_API_TOKEN, and the token in the variable of that name"
        )
    text = os.environ.get(variable, "")
    if not is_shown(variable) and not text:
        register(variable)
    register(text)
    token = _SCHEME.sub("", text, count=1)
    register(token)
    check_token(token, variable)
    return token


def check_token(token: str, variable: str) -> None:
    """Raise TokenError for a token that no header can carry."""
    if problems := "; ".join(_problems(token)):
        raise TokenError(
            f"the token in {variable} has characters that a header cannot carry: {problems}; set "
            "the variable to the token alone"
        )


def is_shown(variable: str) -> bool:
    """Whether a text is printed as the name of a variable: it is set, or looks like a name."""
    return variable in os.environ or bool(_NAME.fullmatch(variable))


def refused_token_hint(variable: str, token: str) -> str:
    """Return why a server may not accept a token, for a message: "" or a part of a sentence."""
    if token[0] in "\"'`“”‘’" or token[-1] in "\"'`“”‘’":
        return f", maybe because of the quotation marks around it: set {variable} without them"
    return ""


def _problems(token: str) -> Iterator[str]:
    inner = token.strip()
    for part, where in (
        (token[: len(token) - len(token.lstrip())], "at its begin"),
        (token[len(token.rstrip()) :] if inner else "", "at its end"),
    ):
        if part:
            yield f"{_name(part[0])} {where}"
    for character in dict.fromkeys(inner):
        if not " " <= character <= "~":
            yield _name(character)
            return


def _name(character: str) -> str:
    if character in _NAMES:
        return _NAMES[character]
    if unicodedata.category(character) in ("Cc", "Cf"):
        return f"a control character (U+{ord(character):04X})"
    return "a character that is not ASCII"
