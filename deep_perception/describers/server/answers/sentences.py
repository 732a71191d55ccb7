"""Where a sentence ends, in any script."""

from __future__ import annotations

import re

# Unicode's property Sentence_Terminal, with the Tibetan shad, which ends a sentence too.
LATIN = ".!?…‼‽⁇⁈⁉⸮⸼"
OTHERS = (
    "。！？．｡﹒﹖﹗︒"  # Chinese, Japanese
    "؟۔؞؝܀܁܂߹࠷࠹࠽࠾"  # Arabic, Urdu, Syriac, N'Ko, Samaritan
    "।॥։՜՞።፧፨།༎๚๛។៕"  # Indic, Armenian, Ethiopic, Tibetan, Thai, Khmer
    "၊။᙮᠃᠉᥄᥅᪨᪩᪪᪫᭚᭛᭞᭟᰻᰼᱾᱿"  # Burmese, Mongolian, Limbu, Tai, Balinese, Lepcha, Ol Chiki
    "꓿꘎꘏꛳꛷꡶꡷꣎꣏꤯꧈꧉꩝꩞꩟꫰꫱꯫"  # Lisu, Vai, Bamum, Phags-pa, Saurashtra, Javanese, Cham, Meetei
)
CLOSING = "'\"“”’»›)\\]）」』】》〉〕］"
# In French, a space stands before the closing quotation mark.
CLOSED = rf"[{CLOSING}]*(?:[ \u00a0\u202f]»)?"
# After a Latin mark a new sentence needs a space: "3.5" is none. In the other scripts it does not.
END = re.compile(
    rf"[{re.escape(LATIN)}]+{CLOSED}(?=\s|$)|"
    # Behind a quotation, a Japanese particle goes on with the sentence that it is in.
    rf"[{OTHERS}]+(?![{OTHERS}])(?:[{CLOSING}]+(?:[ \u00a0\u202f]»)?(?![{CLOSING}]|[ぁ-ゖ])|"
    rf"(?![{CLOSING}]))|"
    rf"(?<=[\u2e80-\uffef])…+{CLOSED}"
)
# Whether a text ends with a sentence is to be seen in this number of characters.
LAST = 200
# A full stop after the number of a list is no end, and one within a text after a single letter or
# an abbreviation is none.
NUMBER = re.compile(r"(?:^|\n)\W*\d{1,3}\.$")
ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:[^\W\d_]|dr|mr|mrs|ms|st|vs|approx|ca|e\.g|i\.e|z\.b|no|nr|fig|max|min|incl|"
    r"resp|bzw|prof|sr|sra|jr|vol)\.$",
    re.IGNORECASE,
)


def complete_sentences(text: str) -> str:
    """Return the text up to the end of its last complete sentence, "" if it has none."""
    text = text.strip()
    ends = [match.end() for match in END.finditer(text)]
    return text[: next((end for end in reversed(ends) if _is_end(text, end)), 0)].strip()


def ends_sentence(text: str) -> bool:
    """Return whether a text ends with a complete sentence."""
    return bool(text.strip()) and complete_sentences(text) == text.strip()


def is_answer(text: str) -> bool:
    """Return whether a text is more than the first part of an answer: lines, a sentence, JSON."""
    said = text.strip()
    return "\n" in said or said.endswith(("}", "```")) or ends_sentence(said[-LAST:])


def _is_end(text: str, end: int) -> bool:
    # The number of a list stands at the begin of a line.
    before = text[max(text.rfind("\n", 0, end), end - 100, 0) : end]
    return not NUMBER.search(before) and (end == len(text) or not ABBREVIATION.search(before[-12:]))
