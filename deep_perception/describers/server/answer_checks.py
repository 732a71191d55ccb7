"""Check whether the text of a model is a description, and find the complete part of a cut text."""

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
# Small models return the names that the prompt and the schema give to the parts of an answer. Names
# of what an image may show, such as "label" or "text", are not in the list.
PLACEHOLDER = re.compile(r"^\W*(?:the )?(?:noun phrase|caption|sentence|string)\W*$", re.IGNORECASE)
SENTENCE_END = re.compile(r"[.!?…]['\")\]]*(?=\s|$)")


def find_problem(label: str, text: str, prompt: str) -> str:
    """Return why a label and a text are no description, "" if they are one."""
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


def complete_sentences(text: str) -> str:
    """Return the text up to the end of its last complete sentence, "" if it has none."""
    ends = [match.end() for match in SENTENCE_END.finditer(text)]
    return text[: ends[-1]].strip() if ends else ""


def _repeats(words: list[str]) -> bool:
    """Whether a phrase of up to six words comes four times in a row, or a long text has few words.

    A text of at least 30 words repeats itself if less than a quarter of them differ.
    """
    for length in range(1, 7):
        for start in range(len(words) - 4 * length + 1):
            if words[start : start + 3 * length] == words[start + length : start + 4 * length]:
                return True
    return len(words) >= 30 and len(set(words)) < 0.25 * len(words)


def _echoes(words: list[str], prompt: list[str]) -> bool:
    """Whether eight words in a row, or all five to seven words of a text, are in the prompt."""
    length = min(8, len(words))
    if length < 5:
        return False
    phrases = {tuple(prompt[i : i + length]) for i in range(len(prompt) - length + 1)}
    return any(tuple(words[i : i + length]) in phrases for i in range(len(words) - length + 1))
