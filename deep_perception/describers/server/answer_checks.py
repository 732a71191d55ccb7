"""Whether words that a model gave are a description, and what is whole of words that break off."""

from __future__ import annotations

import re

REFUSAL = re.compile(
    r"^\W*(?:(?:i'?m|i am|we'?re) (?:very |so |really )?sorry|sorry|i apologi[sz]e|"
    r"(?:unfortunately|however),? i|i (?:can(?:no|')?t|could ?n[o']t|am (?:unable|not able)|"
    r"do ?n[o']t (?:see|have)|won'?t)|i'?m (?:unable|not able|just|only)|as an? (?:ai|language)|"
    r"(?:there is )?no (?:image|picture) (?:was |is |has been )?(?:provided|attached|given|visible"
    r"))",
    re.IGNORECASE,
)  # fmt: skip
# What prompt and schema call an answer's parts: small models give that back. Without what may be
# there to see: a label, a text.
PLACEHOLDER = re.compile(r"^\W*(?:the )?(?:noun phrase|caption|sentence|string)\W*$", re.IGNORECASE)
SENTENCE_END = re.compile(r"[.!?…]['\")\]]*(?=\s|$)")


def problem(label: str, text: str, prompt: str) -> str:
    """What is wrong with words, "" when nothing is."""
    if not re.search(r"\w", label) or not re.search(r"\w", text):
        return "the answer is empty"
    if REFUSAL.match(text.replace("’", "'")):
        return f"the model refused: {text[:120]}"
    if PLACEHOLDER.match(text):
        return f"the answer repeats the question: {text}"
    words = re.findall(r"\w+", text.lower())
    if _repeats(words):
        return f"the answer repeats itself: {text[:80]}"
    if _echoes(words, re.findall(r"\w+", prompt.lower())):
        return f"the answer repeats the question: {text[:80]}"
    return ""


def whole_sentences(text: str) -> str:
    """What comes before the sentence that breaks off; "" when that is nothing."""
    ends = [match.end() for match in SENTENCE_END.finditer(text)]
    return text[: ends[-1]].strip() if ends else ""


def _repeats(words: list[str]) -> bool:
    """A phrase of up to six words four times in a row, or hardly a new word in a long text."""
    for length in range(1, 7):
        for start in range(len(words) - 4 * length + 1):
            if words[start : start + 3 * length] == words[start + length : start + 4 * length]:
                return True
    return len(words) >= 30 and len(set(words)) < 0.25 * len(words)


def _echoes(words: list[str], prompt: list[str]) -> bool:
    """Eight words in a row of the prompt, or all of a shorter answer of at least five."""
    length = min(8, len(words))
    if length < 5:
        return False
    asked = {tuple(prompt[i : i + length]) for i in range(len(prompt) - length + 1)}
    return any(tuple(words[i : i + length]) in asked for i in range(len(words) - length + 1))
