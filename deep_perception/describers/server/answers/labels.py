"""The label that a text implies: a short noun phrase."""

from __future__ import annotations

import re

from deep_perception.describers.server.answers.schema import LABEL_LENGTH, TEXT_LENGTH
from deep_perception.describers.server.answers.text import clean

QUOTES = "\"'`“”„«»「」『』‘’"
EDGES = f"{QUOTES}*#-–—_.。．｡।؛،、,;:：|؟։！？ "
THING = r"(?:region|object|area|item|thing|part|picture|image|photo|photograph|crop|outline|scene)"
MARKED = (
    r"(?:(?:that is )?(?:inside|within|in|marked|outlined|highlighted|enclosed|shown|visible)\b"
    r"[^.,;:]{0,50}? )?"
)
# What a sign says is not cut at its commas.
QUOTE = re.compile(r"^(?:(?:an?|the)\s+)?[\"“„«「『]([^\"“”„«»「」『』]{1,48})[\"”“»」』]")
LIKELY = r"(?:(?:most )?(?:likely|probably|possibly|clearly|perhaps|maybe|simply|just)\s+)*"
OPENING = re.compile(
    r"^(?:(?:based on|in|from|looking at|judging by|according to) (?:the|this) (?:\w+ ){0,2}"
    rf"{THING}[^,.;:]{{0,40}},\s*)?"
    r"(?:i (?:can )?see|i (?:think|believe|guess) (?:that )?(?:(?:it|this) is)?|"
    rf"(?:the|this) (?:\w+ ){{0,2}}?{THING} {MARKED}"
    r"(?:is|shows|contains|depicts|displays|features|represents|(?:appears|seems) to (?:be|show|"
    r"depict)|"
    r"looks like)|(?:this|it|that) (?:is|appears to be|seems to be|looks like)|there is|there's|"
    r"it's|"
    rf"this)\s+{LIKELY}(?=\S+)",
    re.IGNORECASE,
)
STOP = re.compile(
    r"[.,;:(]|\s[-–—|]\s|\s(?:is|are|was|has|with|on|in|at|of|that|which|who|from|against|lying|"
    r"sitting|standing|placed|made)\s",
    re.IGNORECASE,
)
# The verb of a sentence that says where a thing is.
PLACED = re.compile(
    r"\s(?:stands|sits|lies|rests|hangs|leans)\s(?=(?:on|in|at|by|near|against|beside|behind|"
    r"under|above|next|from|between|inside)\s)",
    re.IGNORECASE,
)
# Scripts without spaces: a phrase ends at a mark, or at the limit.
WIDE_STOP = re.compile(r"[。，、；：（）！？｡]")


def given_label(text: str) -> str:
    """Return a label that the model gave as such: "-40 °C display" and "#1 fan mug" are whole."""
    label = clean(text, TEXT_LENGTH).strip("*_` ")
    label = re.sub(r"[\s.。．｡।؛،、,;:：]+$", "", label) or label
    if label[:1] in QUOTES and label[-1:] in QUOTES and len(label) > 2:
        label = label[1:-1].strip()
    return _shortened(label)


def label_of(text: str) -> str:
    """Return the label of a sentence: the part before its verb or first preposition."""
    phrase = clean(text, TEXT_LENGTH)
    if (quote := QUOTE.match(phrase)) and len(phrase.split()) > 4:
        return clean(quote[1].strip(EDGES), LABEL_LENGTH)
    phrase = PLACED.split(OPENING.sub("", phrase.strip(EDGES)), maxsplit=1)[0]
    return _shortened(phrase).strip(EDGES)


def _shortened(phrase: str) -> str:
    phrase = re.sub(r"^(?:an?|the)\s+(?=\S)", "", phrase, flags=re.IGNORECASE)
    if len(phrase.split()) > 4:
        phrase = re.sub(r"^\((.*?)\)", r"\1", phrase).lstrip("(,;: ")
        phrase = STOP.split(phrase, maxsplit=1)[0] or phrase
    phrase = WIDE_STOP.split(phrase, maxsplit=1)[0] or phrase
    return clean(" ".join(phrase.split()[:8]).strip(), LABEL_LENGTH)
