"""Labels and sentences of a model: one line of visible characters, as it may be published."""

from __future__ import annotations

import re
import unicodedata

# Invisible characters that are part of the spelling of words, of conjuncts and of emoji: zero width
# non-joiner and joiner, and the Mongolian vowel separator.
NON_JOINER = "\u200c"
JOINERS = f"{NON_JOINER}\u200d\u180e"
# Letters and symbols without a visible form, which would make a label that looks empty.
BLANK = "\u115f\u1160\u2800\u3164\uffa0\ufffc"
# Marks without a visible form.
INVISIBLE_MARKS = "\u034f\u17b4\u17b5"
# Signs for numbers in Arabic script and Syriac are visible, although they are format characters.
VISIBLE_FORMAT = "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2"
# What a terminal takes for colours, titles and links.
TERMINAL = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|(?:\x1b[\]PX^_]|\x9d)[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?|"
    r"\x1b[ -/]*[0-~]"
)
# The flags of England, Scotland and Wales: a black flag, and letters that cannot be seen. Others of
# these letters are how instructions for a reader of text are hidden in it.
_FLAG = re.compile(
    "(?<=\U0001f3f4)(?:{})\U000e007f".format(
        "|".join(
            "".join(chr(0xE0000 + ord(letter)) for letter in region)
            for region in ("gbeng", "gbsct", "gbwls")
        )
    )
)
# Of a longer text, this many times the limit is looked at.
_LOOKED_AT = 16


def words(text: str, limit: int) -> str:
    """Return a text as one line of at most ``limit`` characters that shows what it holds.

    The codes of a terminal are removed, with what they enclose. A text that is too long ends with
    an ellipsis.
    """
    start = text[: _LOOKED_AT * limit]
    if start.isascii() and start.isprintable():
        line = " ".join(start.split())  # The same as below, in a hundredth of the time.
    else:
        line = one_line(TERMINAL.sub("", start))
    if len(line) <= limit and len(start) == len(text):
        return line
    end = min(limit, len(line) + 1) - 1
    while 0 < end < len(line) and (_is_mark(line[end]) or line[end] in JOINERS):
        end -= 1  # A letter is not separated from its marks.
    return one_line(line[:end]) + "…"


def one_line(text: str) -> str:
    """Return a text as one line, without control characters and without invisible ones.

    Soft hyphens, byte order marks, direction marks and tags are dropped. A joiner stays where it is
    part of the spelling: inside of a word, after a combining mark, and inside of an emoji; so does
    one variation selector behind a character that has variants.
    """
    kept: list[str] = []
    flag_until = 0
    for number, char in enumerate(text):
        category = unicodedata.category(char)
        if number < flag_until:
            kept.append(char)
        elif char in JOINERS:
            following = text[number + 1] if number + 1 < len(text) else ""
            if kept and _joins(kept[-1], following):
                kept.append(char)
        elif "\U000e0020" <= char <= "\U000e007f":
            if flag := _FLAG.match(text, number):
                kept.append(char)
                flag_until = flag.end()
        elif is_selector(char):
            if kept and _has_variant(kept[-1], char):
                kept.append(char)
        elif (category == "Cf" and char not in VISIBLE_FORMAT) or char in INVISIBLE_MARKS:
            continue
        else:
            kept.append(
                " " if (category[0] in "CZ" and category != "Cf") or char in BLANK else char
            )
    return " ".join("".join(kept).split())


def is_selector(char: str) -> bool:
    """Whether a character cannot be seen and only selects a form of the one in front of it."""
    return (
        "\ufe00" <= char <= "\ufe0f"
        or "\U000e0100" <= char <= "\U000e01ef"
        or char in "\u180b\u180c\u180d\u180f"
    )


def _has_variant(before: str, selector: str) -> bool:
    if is_selector(before) or before.isspace() or before in BLANK:
        return False
    if selector in "\ufe0e\ufe0f":  # A symbol as text or as an emoji, also a digit.
        return True
    return unicodedata.category(before) in ("Lo", "Sm")


def _joins(before: str, after: str) -> bool:
    if _is_mark(before):
        return True
    wanted = "LMS" if unicodedata.category(before)[0] == "S" else "LM"
    return after not in ("", *BLANK) and all(
        unicodedata.category(char)[0] in wanted for char in (before, after)
    )


def _is_mark(char: str) -> bool:
    return unicodedata.category(char)[0] == "M"
