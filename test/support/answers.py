"""Answers of a chat server as the describers read them, without a server."""

import json

from deep_perception.describers.server.answers import BadAnswer, ErrorInAnswer, parse_answer
from support.chat_server import completion

PROMPT = "Describe only what is inside the outline, and use the rest only to understand what it is."
CUP = {"label": "red cup", "caption": "A red cup."}
RIGHT = json.dumps(CUP)
DRAFT = json.dumps({"label": "blue dog", "caption": "A blue dog."})


def read(content, reason="stop", **message):
    """Return label, text, and whether it is truncated; or the reason why there is none."""
    return read_body(completion(content, reason=reason, **message))


def read_body(body):
    try:
        answer = parse_answer(body, PROMPT)
    except (BadAnswer, ErrorInAnswer) as error:
        return str(error)
    return answer.label, answer.text, answer.truncated
