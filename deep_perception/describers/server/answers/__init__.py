"""Read the answer of a server: a label, a sentence and attributes, or why there are none.

The steps, in this order; docs/describers.md states the grammar for users:

1. ``body``: the texts of a chat completion, and how the model came to its end.
2. ``thinking``: what was thought is no answer.
3. ``special_tokens``: what follows the end of the turn is none, and no token stays in the text.
4. ``fields``, ``layouts`` (``objects``, ``labels``): label and sentence in JSON, lines or prose.
5. ``checks`` (``refusals``, ``repetition``): whether they describe something.
6. ``sentences``: of a text that was cut off, only the complete sentences stay.
"""

from __future__ import annotations

import dataclasses
import re

from deep_perception.describers.server.answers import thinking
from deep_perception.describers.server.answers.answer import Answer, BadAnswer, ErrorInAnswer
from deep_perception.describers.server.answers.body import Completion, Ending, read_body
from deep_perception.describers.server.answers.checks import (
    find_problem,
    is_error,
    is_placeholder,
)
from deep_perception.describers.server.answers.fields import from_object
from deep_perception.describers.server.answers.layouts import TOOL_CALL, from_text
from deep_perception.describers.server.answers.objects import (
    FENCE,
    Found,
    answers_in,
    find_objects,
    loose_object,
    only_object,
    salvage,
)
from deep_perception.describers.server.answers.repetition import repeats
from deep_perception.describers.server.answers.schema import SCHEMA, TEXT_LENGTH
from deep_perception.describers.server.answers.sentences import complete_sentences, ends_sentence
from deep_perception.describers.server.answers.special_tokens import cut_at_end, without_tokens
from deep_perception.describers.server.answers.text import clean, error_text

__all__ = ["SCHEMA", "Answer", "BadAnswer", "ErrorInAnswer", "clean", "error_text", "parse_answer"]

# The characters of an answer without the thought. Descriptions are a hundredth of it, and the
# steps that follow take time for each.
LONGEST = 10_000
# The characters of an answer with its thought: those of describer.max_tokens and many more.
LONGEST_WITH_THOUGHT = 200_000


@dataclasses.dataclass(frozen=True)
class _Reading:
    """What was received, its complete part (None if there is none), and if it is prose."""

    received: Answer
    complete: Answer | None
    is_prose: bool = False


def parse_answer(body: object, prompt: str) -> Answer:
    """Return the description in the body of a chat completion.

    Raises BadAnswer if it holds none, and ErrorInAnswer for an error that came with status 200.
    """
    completion = read_body(body)
    text = _answer_of(completion)
    reading = _read(text, completion.ending is not Ending.WHOLE)
    received, complete = reading.received, reading.complete
    problem = find_problem(received.label, received.text, prompt, is_prose=reading.is_prose)
    if problem.startswith("the answer is an error"):
        raise ErrorInAnswer(received.text)
    if problem:
        raise BadAnswer(problem)
    if complete is None:
        raise BadAnswer(_why_incomplete(completion))
    return dataclasses.replace(complete, model=completion.model)


def _answer_of(completion: Completion) -> str:
    """Return the text of a completion without what was thought and what follows its end.

    Raises BadAnswer if nothing is left.
    """
    if len(completion.content) > LONGEST_WITH_THOUGHT:
        raise BadAnswer(f"the answer has {len(completion.content)} characters")
    parts = _split(completion.content)
    answer = _shortened(parts.answer)
    answer = cut_at_end(answer, _places(answer))
    # Some servers send a thought as the answer, too.
    is_thought = answer.strip() == completion.reasoning.strip()
    if re.search(r"\w", without_tokens(answer)) and not is_thought:
        return answer
    # A server that puts a grammar on a model which thinks gets the constrained JSON as a thought.
    # What it says in words there is a thought.
    for thought in (parts.thought, completion.reasoning[-LONGEST_WITH_THOUGHT:]):
        rest = _split(thought).answer
        if only_object(rest) is not None:
            return rest
    if completion.ending is Ending.LIMIT:
        raise BadAnswer(
            "the model reached describer.max_tokens without an answer: raise it, or turn the "
            "model's thinking off"
        )
    if parts.thought or completion.reasoning:
        raise BadAnswer("the answer is empty, the model only thinks: turn its thinking off")
    raise BadAnswer("the answer is empty")


def _shortened(text: str) -> str:
    """Return a text of LONGEST characters at most: of a longer one, the object that is its answer.

    Raises BadAnswer for a longer one that is no JSON.
    """
    if len(text) <= LONGEST:
        return text
    for one in answers_in(text, find_objects(text)):
        if one.end - one.start <= LONGEST and _is_description(one):
            return text[one.start : one.end]
    raise BadAnswer(f"the answer has {len(text)} characters, which is no description")


def _split(text: str) -> thinking.Parts:
    return thinking.split(text, _places(text))


def _places(text: str) -> list[tuple[int, int]]:
    return [(found.start, found.end) for found in find_objects(text)]


def _read(text: str, is_cut: bool) -> _Reading:
    found = find_objects(text)
    rest = text[found[-1].end :] if found else text
    cut_object = re.search(r"\{\s*[\"']", rest)
    answers = answers_in(text, found)
    if cut_object and not (found and _is_description(answers[0]) and not is_cut):
        loose = loose_object(rest)
        if loose is not None:
            answer = from_object(loose)
            return _Reading(answer, answer)
        return _salvaged(rest[cut_object.start() :])
    for one in answers:
        if _is_description(one):  # At a limit too: only text after the object was cut off.
            answer = from_object(one.content)
            return _Reading(answer, answer)
    starts_with_object = FENCE.sub(" ", text).lstrip(" \n[(json").startswith("{")
    if answers and starts_with_object:
        answer = from_object(answers[0].content)
        return _Reading(answer, answer)
    if TOOL_CALL.search(text):
        raise BadAnswer("the model calls a function instead of answering")
    loose = (
        loose_object(text) if starts_with_object or re.match(r'\s*"(?:\{|\w+"\s*:)', text) else None
    )
    if loose is not None:
        answer = from_object(loose)
        return _Reading(answer, answer)
    if starts_with_object:
        return _salvaged(text)
    return _prose(without_tokens(text), is_cut)


def _is_description(found: Found) -> bool:
    try:
        answer = from_object(found.content)
    except BadAnswer:
        return False
    return not is_placeholder(answer.label) and not is_placeholder(answer.text)


def _salvaged(text: str) -> _Reading:
    closed, broken = salvage(text)
    if not closed and not broken:
        raise BadAnswer("the answer is broken JSON")
    caption = complete_sentences(broken.get("caption", ""))
    complete = {**closed, **({"caption": caption} if caption else {})}
    received = (
        from_object({**closed, **broken}) if {*closed, *broken} & {"label", "caption"} else None
    )
    if received is None:
        raise BadAnswer("the answer is broken JSON")
    return _Reading(received, _truncated(from_object(complete)) if complete.get("label") else None)


def _prose(text: str, is_cut: bool) -> _Reading:
    if is_error(text):
        raise ErrorInAnswer(clean(text, 200))
    # Before the layout takes numbers from the lines, and leaves most of a long text out.
    if repeats(line := clean(text, 2 * TEXT_LENGTH)):
        raise BadAnswer(f"the answer repeats itself: {line[:80]}")
    received, is_prose = from_text(text)
    if not is_cut:
        if thinking.thinks_aloud(text):
            # Only two lines at the end that have the form that the prompt asks for are an answer.
            *before, last = re.split(r"\n\s*\n", text.strip())
            lines = [line for line in last.splitlines() if line.strip()]
            answer, last_is_prose = from_text(last)
            if before and len(lines) == 2 and not last_is_prose and ends_sentence(lines[1]):
                return _Reading(answer, answer)
            received = dataclasses.replace(received, text=clean(text, TEXT_LENGTH))
        return _Reading(received, received, is_prose)
    *lines, last = text.strip().splitlines() or [""]
    rest = "\n".join([*lines, complete_sentences(last)]).strip()
    # "1. A red cup that" leaves "1.", which is no sentence.
    kept = from_text(rest)[0] if re.search(r"[^\W\d]", rest) else None
    complete = _truncated(kept) if kept and kept.label else None
    return _Reading(received, complete, is_prose)


def _truncated(answer: Answer) -> Answer:
    return dataclasses.replace(answer, truncated=True)


def _why_incomplete(completion: Completion) -> str:
    if completion.ending is Ending.LIMIT:
        return "the answer breaks off at describer.max_tokens: raise it"
    if completion.ending is Ending.CUT:
        return f"the answer breaks off (finish_reason {clean(completion.finish_reason, 40)!r})"
    return "the answer's JSON breaks off"
