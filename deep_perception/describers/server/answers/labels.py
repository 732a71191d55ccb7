"""The label that a text implies: a short noun phrase."""

from __future__ import annotations

import re

from deep_perception.describers.server.answers.schema import LABEL_LENGTH, TEXT_LENGTH
from deep_perception.describers.server.answers.text import clean

QUOTES = "\"'`“”„«»「」『』‘’"
EDGES = f"{QUOTES}*#-–—_.。．｡।؛،、,;:：| "
THING = r"(?:region|object|area|item|thing|part|picture|image|photo|photograph|crop|outline|scene)"
MARKED = r"(?:(?:that is )?(?:inside|within|in|marked|outlined|highlighted|enclosed|shown|visible)\b[^.,;:]{0,50}? )?"
OPENING = re.compile(
    r"^(?:(?:based on|in|from|looking at|judging by|according to) (?:the|this) (?:\w+ ){0,2}"
    rf"{THING}[^,.;:]{{0,40}},\s*)?"
    r"(?:i (?:can )?see|i (?:think|believe|guess) (?:that )?(?:(?:it|this) is)?|"
    rf"(?:the|this) (?:\w+ ){{0,2}}?{THING} {MARKED}"
    r"(?:is|shows|contains|depicts|displays|features|represents|(?:appears|seems) to (?:be|show|depict)|"
    r"looks like)|(?:this|it|that) (?:is|appears to be|seems to be|looks like)|there is|there's|it's|"
    r"this)\s+(?=\S+)",
    re.IGNORECASE,
)
STOP = re.compile(
    r"[.,;:(]|\s[-–—|]\s|\s(?:is|are|was|has|with|on|in|at|of|that|which|who|from|against|lying|"
    r"sitting|standing|placed|made)\s",
    re.IGNORECASE,
)
# Scripts without spaces: a phrase ends at a mark, or at the limit.
WIDE_STOP = re.compile(r"[。，、；：（）！？｡]")
LIST_ITEM = re.compile(r"^(?:[-*+•·▪◦●–—]|\(?\d{1,2}[.):])\s+")


def label_of(text: str) -> str:
    """Return a short noun phrase: of a sentence, the part before its verb or first preposition."""
    phrase = LIST_ITEM.sub("", clean(text, TEXT_LENGTH)).strip(EDGES)
    opened = OPENING.sub("", phrase)
    if opened != phrase and len(opened.split()) >= 1:
        phrase = opened
    phrase = re.sub(r"^(?:an?|the)\s+(?=\S)", "", phrase, flags=re.IGNORECASE)
    if len(phrase.split()) > 4:
        phrase = re.sub(r"^\((.*?)\)", r"\1", phrase).lstrip("(,;: ")
        phrase = STOP.split(phrase, maxsplit=1)[0]
    phrase = WIDE_STOP.split(phrase, maxsplit=1)[0] or phrase
    return clean(" ".join(phrase.split()[:8]).strip(EDGES), LABEL_LENGTH)
