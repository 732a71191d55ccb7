"""All forms in which a secret may stand in a text: escaped, encoded, or shortened."""

from __future__ import annotations

import base64
import html
import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import groupby

MARK = "***"
# A secret of fewer characters may be a common word, or a part of one.
SHORT = 8
# What a server or a log shows of a secret: "sk-abc...wxyz", "sk-abc***".
_GAP = re.compile(r"\.{3,}|…|\*{2,}|•{2,}")
_FRAGMENT = 3

# What may stand in place of white space and of characters that are not printed.
_BLANK = (
    r"(?:[\s\x00-\x1f\x7f-\x9f\xad\u200b-\u200f\u2060\ufeff\ufffd?+]"
    r"|\\+(?:[rntvfbae]|x[0-9a-fA-F]{2}|[uU][0-9a-fA-F]{4,8}|[0-7]{1,3})"
    r"|%(?:25)*[0-9a-fA-F]{2}|&(?:#[0-9a-fA-FxX]+|nbsp|Tab|NewLine|zwnj|zwj|shy);)"
)
_BACKSLASHES = r"(?:\\|%(?:25)*5[Cc]|&#(?:92|[xX]5[Cc]);|&bsol;)+"
# A word begins behind an escape, too: \nsecret, %3Asecret.
_BEGIN = (
    r"(?:(?<![^\W_])|(?<=\\[nrtvfbae0])|(?<=%[0-9a-fA-F]{2})|(?<=\\x[0-9a-fA-F]{2})"
    r"|(?<=\\u[0-9a-fA-F]{4}))"
)
_END = r"(?![^\W_])"


class Secret:
    """One secret, and the pattern that finds it in any form."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._solid = "".join(character for character in text if not _is_blank(character))

    @property
    def is_short(self) -> bool:
        """Whether it may be a common word."""
        return len(self._solid) < SHORT

    def remove_from(self, text: str) -> str:
        """Return the text with MARK in place of the secret."""
        return self._pattern.sub(MARK, text) if self._pattern else text

    @cached_property
    def _pattern(self) -> re.Pattern[str] | None:
        if not self._solid:
            return None  # Nothing but white space, which tells nothing.
        whole = _pattern_of(self.text)
        if self.is_short:
            begin = _BEGIN if self._solid[0].isalnum() else ""
            whole = f"{begin}{whole}{_END if self._solid[-1].isalnum() else ''}"
        data = self.text.encode("utf-8", "surrogatepass")
        encoded = {
            base64.b64encode(data).decode().rstrip("="),
            base64.urlsafe_b64encode(data).decode().rstrip("="),
            data.hex(),
        }
        longest_first = sorted(encoded, key=len, reverse=True)
        return re.compile(
            "|".join(
                [whole, *(f"{_pattern_of(form)}(?:=|%3D)*" for form in longest_first
                          if len(form) >= SHORT)]
            )
        )  # fmt: skip


def remove_fragments(text: str, secrets: Sequence[str]) -> str:
    """Return the text with MARK in place of the begin or the end of a secret at an ellipsis.

    Servers quote a refused token so, and a text that was too long ends so.
    """
    gaps = list(_GAP.finditer(text))
    for gap in reversed(gaps):
        begin, end = gap.span()
        for secret in (secret.strip() for secret in secrets):
            begin -= _shared(secret, text[max(0, begin - len(secret)) : begin])
            # The same from behind.
            end += _shared(secret[::-1], text[end : end + len(secret)][::-1])
        if (begin, end) != gap.span():
            text = f"{text[:begin]}{MARK}{text[end:]}"
    return text


def _shared(secret: str, before: str) -> int:
    """Return how many characters of the secret's begin stand at the end of a text, 0 for few."""
    return next(
        (
            length
            for length in range(min(len(secret), len(before)), _FRAGMENT - 1, -1)
            if before.endswith(secret[:length])
        ),
        0,
    )


def _pattern_of(text: str) -> str:
    """Return a regular expression for a text whose characters may be escaped in any way.

    Runs of white space and of backslashes may have any length, which keeps the expression free of
    costly backtracking. White space at both ends is left out.
    """
    runs = list(_runs(text))
    if runs and runs[0][0] == "blank":
        del runs[0]
    if runs and runs[-1][0] == "blank":
        del runs[-1]
    parts: list[str] = []
    for kind, run in runs:
        if kind == "blank":
            # A space leaves something behind in every encoding; a control character may not.
            parts.append(_BLANK + ("+" if any(one.isspace() for one in run) else "*"))
        elif kind == "backslash":
            parts.append(_BACKSLASHES)
        else:
            parts += map(_pattern_of_character, run)
    return "".join(parts)


def _runs(text: str) -> Iterator[tuple[str, str]]:
    def kind(character: str) -> str:
        if character == "\\":
            return "backslash"
        return "blank" if _is_blank(character) else "solid"

    for name, run in groupby(text, kind):
        yield name, "".join(run)


def _pattern_of_character(character: str) -> str:
    if character.isascii() and character.isalnum():
        return character  # No encoding changes these.
    code = ord(character)
    # How Python decodes a byte of the environment that is no UTF-8.
    escaped = "surrogateescape" if 0xDC80 <= code <= 0xDCFF else "surrogatepass"
    data = character.encode("utf-8", escaped)
    forms = [
        re.escape(character),
        "".join(rf"%(?:25)*{_hex(byte)}" for byte in data),
        "".join(rf"\\+x{_hex(byte)}" for byte in data),
        "".join(rf"\\+{byte:03o}" for byte in data),
        rf"\\+u{_hex(code, 4)}",
        rf"\\+U{_hex(code, 8)}",
        rf"&(?:amp;)*#(?:0*{code}|[xX]0*{_hex(code, 1)});",
    ]
    if character in "&<>\"'":
        name = html.escape(character)[1:-1]
        forms.append(rf"&(?:amp;)*(?:{re.escape(name)}|apos);")
    if character.isascii():
        return rf"(?:\\*(?:{'|'.join(forms)}))"
    if code < 256:
        forms += [rf"%(?:25)*{_hex(code)}", rf"\\+x{_hex(code)}", rf"\\+{code:03o}"]
    if code > 0xFFFF:
        high, low = 0xD800 + ((code - 0x10000) >> 10), 0xDC00 + (code & 0x3FF)
        forms.append(rf"\\+u{_hex(high, 4)}\\+u{_hex(low, 4)}")
    # UTF-8 that was read as Latin-1 or Windows-1252, other spellings, and a replaced character.
    forms += [re.escape(data.decode(codec, "replace")) for codec in ("latin-1", "cp1252")]
    normal = (unicodedata.normalize(form, character) for form in ("NFC", "NFD", "NFKC", "NFKD"))
    forms += [re.escape(other) for other in dict.fromkeys(normal) if other != character]
    forms += [r"\\+N\{[^}]*\}", r"[?\ufffd]"]
    return rf"(?:\\*(?:{'|'.join(dict.fromkeys(forms))}))"


def _is_blank(character: str) -> bool:
    return character.isspace() or unicodedata.category(character) in ("Cc", "Cf")


def _hex(number: int, width: int = 2) -> str:
    """Return hexadecimal digits of either case, as a regular expression."""
    digits = f"{number:0{width}x}"
    return "".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in digits)
