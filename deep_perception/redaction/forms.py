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
# Several characters in a row that are escaped although they need not be.
_ENCODED = re.compile(
    r"(?:%(?:25)*[0-9a-f]{2}|(?<!\\)\\+(?:x[0-9a-f]{2}|u[0-9a-f]{4}|[0-7]{3})|&(?:amp;)*#x?[0-9a-f]{1,6};){4}",
    re.IGNORECASE,
)
# So many characters of a secret in a row are no chance.
LONG_PART = 12

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
        if self._pattern is None:
            return text
        text = self._pattern.sub(MARK, text)
        # The second search takes several times as long.
        if not self.is_short and _ENCODED.search(text):
            text = self._encoded_pattern.sub(MARK, text)
        return text

    @cached_property
    def _encoded_pattern(self) -> re.Pattern[str]:
        return re.compile(_pattern_of(self.text, any_case=True, all_encoded=True))

    @cached_property
    def _pattern(self) -> re.Pattern[str] | None:
        if not self._solid:
            return None  # Nothing but white space, which tells nothing.
        whole = _pattern_of(self.text, any_case=not self.is_short)
        if self.is_short:
            begin = _BEGIN if self._solid[0].isalnum() else ""
            whole = f"{begin}{whole}{_END if self._solid[-1].isalnum() else ''}"
        data = self.text.encode("utf-8", "surrogatepass")
        encoded = {
            base64.b64encode(data).decode().rstrip("="),
            base64.urlsafe_b64encode(data).decode().rstrip("="),
            data.hex(),
        }
        # These are rarely broken into lines, and each such place costs time.
        in_one_line = {
            base64.b32encode(data).decode().rstrip("="),
            data.hex().upper(),
            data.hex(":"),
            *_within_base64(data),
        }
        forms = [(form, _pattern_of(form)) for form in encoded]
        forms += [(form, re.escape(form)) for form in in_one_line - encoded]
        forms.sort(key=lambda pair: -len(pair[0]))
        return re.compile(
            "|".join([whole, *(f"{form}(?:=|%3D)*" for text, form in forms if len(text) >= SHORT)])
        )


def _within_base64(data: bytes) -> Iterator[str]:
    """Yield what stands for bytes in the base64 of a longer text, such as "user:token".

    The characters at both ends, which depend on the text around, are left out.
    """
    for before, shared in ((0, 0), (1, 2), (2, 3)):
        whole = base64.b64encode(bytes(before) + data).decode()
        inner = whole.rstrip("=")[shared:]
        inner = inner[:-1] if whole.endswith("=") else inner
        if len(inner) >= SHORT:
            yield from {inner, inner.replace("+", "-").replace("/", "_")}


def remove_fragments(text: str, secrets: Sequence[str]) -> str:
    """Return the text with MARK in place of long parts of a secret, and of short ones at a gap.

    Servers quote the begin or the end of a refused token, with an ellipsis or without, and a text
    that was too long ends so.
    """
    for secret in secrets:
        text = _remove_long_parts(text, secret)
    both = [(secret, secret[::-1]) for secret in map(str.strip, secrets)]
    parts, position = [], 0
    for gap in _GAP.finditer(text):
        begin, end = gap.span()
        for secret, reverse in both:
            begin -= _shared(secret, text[max(position, begin - len(secret)) : begin])
            # The same from behind.
            end += _shared(reverse, text[end : end + len(secret)][::-1])
        if (begin, end) != gap.span() and end > position:
            parts += [text[position:begin], MARK]
            position = end
    return "".join([*parts, text[position:]])


def _remove_long_parts(text: str, secret: str) -> str:
    """Return the text with MARK in place of each part of LONG_PART characters or more."""
    for start in range(len(secret) - LONG_PART + 1):
        part = secret[start : start + LONG_PART]
        # A server may repeat a part of the token that it got: the text is put together only once.
        kept, position = [], 0
        while (at := text.find(part, position)) >= 0:
            kept += [text[position:at], MARK]
            position, more = at + LONG_PART, start + LONG_PART
            while text[position : position + 1] == secret[more : more + 1] != "":
                position, more = position + 1, more + 1
        text = "".join([*kept, text[position:]]) if kept else text
    return text


def _shared(secret: str, before: str) -> int:
    """Return how many characters of the secret's begin stand at the end of a text, 0 for few."""
    last = before[-_FRAGMENT:]
    at = secret.rfind(last) if len(last) == _FRAGMENT else -1
    while at >= 0:
        if before.endswith(secret[: at + _FRAGMENT]):
            return at + _FRAGMENT
        at = secret.rfind(last, 0, at + _FRAGMENT - 1)
    return 0


def _pattern_of(text: str, *, any_case: bool = False, all_encoded: bool = False) -> str:
    """Return a regular expression for a text whose characters may be escaped in any way.

    ``any_case``: letters of ASCII may be in either case (a flag of the expression takes long to
    compile); ``all_encoded``: characters that need no escape may be escaped too.

    White space at both ends is left out. No part of it can match in so many ways that a text makes
    the search slow: see ``_atomic``.
    """
    runs = list(_runs(text))
    if runs and runs[0][0] == "blank":
        del runs[0]
    if runs and runs[-1][0] == "blank":
        del runs[-1]
    parts: list[str] = []
    before = "begin"
    for number, (kind, run) in enumerate(runs):
        if kind == "blank":
            # A space leaves something behind in every encoding; a control character may not.
            least = int(any(one.isspace() for one in run))
            forms = dict.fromkeys(form for one in run for form in _forms_of(one, escape=r"\\+"))
            one = rf"(?:\s|{'|'.join(forms)})"
            parts.append(_atomic(f"{one}{{{least},{len(run)}}}", f"b{number}"))
        elif kind == "backslash":
            parts.append(_atomic(_BACKSLASHES, f"b{number}"))
        else:
            for character in run:
                parts.append(_pattern_of_character(character, before, all_encoded=all_encoded))
                before = "solid"
            continue
        before = kind
    # A long text may be broken into lines anywhere.
    if any_case:
        parts = [
            f"[{part.lower()}{part.upper()}]" if len(part) == 1 and part.isalpha() else part
            for part in parts
        ]
    line_break = _BREAK if any_case else r"(?:\s|\\+[nrt]){0,3}"
    return (line_break if len(text) >= SHORT else "").join(parts)


# Also the end of a line of quoted-printable, and characters without a form.
_BREAK = (
    r"(?:=?\s|\\+[nrt]|\\+u(?:200[b-d]|2060|feff|00ad)|"
    r"[\u200b-\u200d\u2060\ufeff\u00ad]){0,3}"
)
# Doubled by every escape, so their number is free.
_BACKSLASHES = r"(?:\\|%(?:25)*5[Cc]|&#(?:92|[xX]5[Cc]);|&bsol;)+"


def _atomic(pattern: str, name: str) -> str:
    """Return a pattern that is matched once, greedily, and never in another way afterwards.

    Python has this as ``(?>…)`` from 3.11.
    """
    return f"(?=(?P<{name}>{pattern}))(?P={name})"


def _runs(text: str) -> Iterator[tuple[str, str]]:
    def kind(character: str) -> str:
        if character == "\\":
            return "backslash"
        return "blank" if _is_blank(character) else "solid"

    for name, run in groupby(text, kind):
        yield name, "".join(run)


def _pattern_of_character(character: str, before: str, *, all_encoded: bool) -> str:
    """``before`` tells what is in front of it: "begin", "backslash", "blank" or "solid"."""
    if character.isascii() and character.isalnum() and not all_encoded:
        return character  # No encoding has to change these.
    # Behind backslashes, those of the escape are matched already. At the begin, only the first of
    # many backslashes is tried.
    escape = {"backslash": "", "begin": r"(?<!\\)\\+"}.get(before, r"\\+")
    plain = re.escape(character)
    if character.isascii() and character.isalpha():
        plain = f"[{character.lower()}{character.upper()}]"
    escaped = f"{escape}{plain}|" if escape and not character.isalnum() else ""
    return f"(?:{plain}|{escaped}{'|'.join(_forms_of(character, escape=escape))})"


def _forms_of(character: str, *, escape: str) -> list[str]:
    """Return patterns of what stands for a character; ``escape`` is that of backslashes."""
    code, data = ord(character), character.encode("utf-8", "surrogatepass")
    forms = _bytes(data, escape)
    if 0xDC80 <= code <= 0xDCFF:  # How Python decodes a byte of the environment that is no UTF-8.
        forms += _bytes(character.encode("utf-8", "surrogateescape"), escape)
    forms += [
        rf"{escape}u{_hex(code, 4)}",
        rf"{escape}U{_hex(code, 8)}",
        rf"&(?:amp;)*#(?:0*{code}|[xX]0*{_hex(code, 1)});",
    ]
    if _is_blank(character):
        forms.append(re.escape(character))
    if character in _LETTERS:
        forms.append(escape + _LETTERS[character])
    if character == " ":
        forms.append(r"\+")
    if character in "&<>\"'":
        name = html.escape(character)[1:-1]
        forms.append(rf"&(?:amp;)*(?:{re.escape(name)}|apos);")
    if character.isascii():
        return forms
    if code < 256:
        forms += [rf"%(?:25)*{_hex(code)}", rf"{escape}x{_hex(code)}", rf"{escape}{code:03o}"]
    if code > 0xFFFF:
        high, low = 0xD800 + ((code - 0x10000) >> 10), 0xDC00 + (code & 0x3FF)
        forms.append(rf"{escape}u{_hex(high, 4)}\\+u{_hex(low, 4)}")
    # UTF-8 that was read as Latin-1 or Windows-1252, other spellings, and a replaced character.
    forms += [re.escape(data.decode(codec, "replace")) for codec in ("latin-1", "cp1252")]
    normal = (unicodedata.normalize(form, character) for form in ("NFC", "NFD", "NFKC", "NFKD"))
    forms += [re.escape(other) for other in dict.fromkeys(normal) if other.strip()]
    forms += [rf"{escape}N\{{[^}}]{{1,80}}\}}", r"[?\ufffd]"]
    return list(dict.fromkeys(forms))


_LETTERS = {"\r": "r", "\n": "n", "\t": "t", "\v": "v", "\f": "f", "\b": "b", "\a": "a",
            "\x1b": "e", "\0": "0"}  # fmt: skip


def _bytes(data: bytes, escape: str) -> list[str]:
    """Return the forms of bytes: in percent, hexadecimal and octal."""
    first, *rest = data
    return [
        "".join(rf"%(?:25)*{_hex(byte)}" for byte in data),
        rf"{escape}x{_hex(first)}" + "".join(rf"\\+x{_hex(byte)}" for byte in rest),
        rf"{escape}{first:03o}" + "".join(rf"\\+{byte:03o}" for byte in rest),
    ]


def _is_blank(character: str) -> bool:
    return character.isspace() or not character.isprintable()


def _hex(number: int, width: int = 2) -> str:
    """Return hexadecimal digits of either case, as a regular expression."""
    digits = f"{number:0{width}x}"
    return "".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in digits)
