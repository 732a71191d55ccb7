"""Text of others, as it may be shown in a log, in a terminal or in a message."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from deep_perception.untrusted.words import BLANK, INVISIBLE_MARKS, JOINERS, is_selector

# Characters of a name, an encoding, or a value that a message quotes.
QUOTED = 60
# Characters of a reason that a library, a server or a file gives for a failure.
REASON = 300
# Characters of a whole line of a log, which quotes several such texts.
LINE = 4000
# Names that a message lists, and characters of each: as many as ROS allows for a topic.
LISTED, NAME = 5, 256
# A fast test for text that contains nothing to be escaped.
_PLAIN = re.compile(r"[ -\[\]-~]*")


def printable(text: object, limit: int = QUOTED, *, length: int | None = None) -> str:
    r"""Return a text as one line that changes neither a terminal nor the text around it.

    Control characters (``\x1b``, ``\n``), invisible and bidirectional ones (``\u202e``), lone
    surrogates and separators of lines are escaped as in Python. A text of more than ``limit``
    characters is cut off, and its length is said. Characters are counted as they are shown.
    ``length`` is that of the whole text, if only its begin is given.
    """
    whole = str(text)
    shown = whole[: limit + 1]
    if not _PLAIN.fullmatch(shown):
        shown = _all_escaped(shown)
    length = len(whole) if length is None else length
    if len(shown) <= limit and length <= len(whole):
        return shown
    kept = shown[:limit]
    # Half of an escape sequence would name another character.
    kept = re.sub(r"\\(?:x[0-9a-f]?|u[0-9a-f]{0,3}|U[0-9a-f]{0,7})?$", "", kept)
    return f"{kept}… ({length} characters)"


def listed(
    names: Iterable[object], most: int = LISTED, *, limit: int = NAME, separator: str = ", "
) -> str:
    """Return names of others, up to ``limit`` characters of each, and how many more there are."""
    known = names if isinstance(names, Sequence) else list(names)
    more = f" and {len(known) - most} more" if len(known) > most else ""
    return separator.join(printable(name, limit) for name in known[:most]) + more


def _all_escaped(text: str) -> str:
    shown, before = [], ""
    for character in text:
        shown.append(_escaped(character, before))
        before = character
    return "".join(shown)


def _escaped(character: str, before: str) -> str:
    # These join letters of Persian, of Indic scripts, and of some emoji, or select the form of the
    # character in front. In a row, or behind Latin letters, they would be text that nobody sees.
    if character in JOINERS:
        is_seen = before > "~" and before not in JOINERS
    elif is_selector(character):
        has_form = before > "~" or (before and character == "\ufe0f")
        is_seen = bool(has_form) and before not in JOINERS and not is_selector(before)
    elif character in BLANK or character in INVISIBLE_MARKS:
        is_seen = False
    else:
        is_seen = character.isprintable() or unicodedata.category(character) == "Zs"
    if is_seen:
        return character
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
