"""Text of others, as it may be shown in a log, in a terminal or in a message."""

from __future__ import annotations

import re
import unicodedata

# Characters of a name, an encoding, or a value that a message quotes.
QUOTED = 60
# Characters of a whole line of a log, which quotes several such texts.
LINE = 4000
# They join letters of Persian, of Indic scripts, and of some emoji.
JOINERS = "\u200c\u200d"
# A fast test for text that contains nothing to be escaped.
_PLAIN = re.compile(r"[ -\[\]-~]*")


def printable(text: object, limit: int = QUOTED) -> str:
    r"""Return a text as one line that changes neither a terminal nor the text around it.

    Control characters (``\x1b``, ``\n``), invisible and bidirectional ones (``\u202e``), lone
    surrogates and separators of lines are escaped as in Python. A text of more than ``limit``
    characters is cut off, and its length is said. Characters are counted as they are shown.
    """
    whole = str(text)
    shown = whole[: limit + 1]
    if not _PLAIN.fullmatch(shown):
        shown = "".join(map(_escaped, shown))
    if len(shown) <= limit:
        return shown
    kept = shown[:limit]
    # Half of an escape sequence would name another character.
    kept = re.sub(r"\\(?:x[0-9a-f]?|u[0-9a-f]{0,3}|U[0-9a-f]{0,7})?$", "", kept)
    return f"{kept}… ({len(whole)} characters)"


def _escaped(character: str) -> str:
    if character.isprintable() or character in JOINERS:
        return character
    if unicodedata.category(character) == "Zs":
        return character
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
