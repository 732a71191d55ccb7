"""Where an answer is in a body, and how it ended."""

import json

import pytest

from support.answers import RIGHT, read, read_body
from support.chat_server import completion

WHOLE = ("red cup", "A red cup.", False)
CUT = ("red cup", "A red cup.", True)


@pytest.mark.parametrize(
    ("reasons", "found"),
    [
        ((None, "", "stop", "STOP", "eos", "eos_token", "end_turn", "stop_sequence", "COMPLETE",
          "FinishReason.STOP", "STOP_REASON_END_TURN", "stopped", "stop_str", 151645),
         ("red cup. It has", "A red cup. It has", False)),
        (("length", "MAX_TOKENS", "model_length", "max_output_tokens", "abort", "cancelled",
          "unknown", "insufficient_system_resource", "userStopped", "timeout", "a new one",
          {"type": "abort"}), CUT),
    ],
)  # fmt: skip
def test_only_what_is_finished_is_whole(reasons, found):
    for reason in reasons:
        assert read("A red cup. It has", reason) == found, reason
        assert read(RIGHT, reason) == WHOLE  # Only text behind the object can be missing.


@pytest.mark.parametrize(
    "reason",
    ["error", "content_filter", "SAFETY", "PROHIBITED_CONTENT", "ERROR_TOXIC", "failed", "refusal",
     "guardrail_intervened", {"type": "error"}],
)  # fmt: skip
def test_an_error_or_a_filter_is_no_end(reason):
    for content in ("Generation failed: out of memory", "A red cup.", RIGHT):
        assert isinstance(read(content, reason), str)


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (json.dumps(completion(RIGHT)), WHOLE),
        ("\ufeff" + json.dumps(completion(RIGHT)), WHOLE),
        ({"choices": [{"message": {"content": {"type": "text", "text": RIGHT}}}]}, WHOLE),
        (completion(None, tool_calls=[{"function": {"name": "x", "arguments": RIGHT}}]), WHOLE),
        ({**completion("A red cup. It", reason=None), "status": "incomplete"}, CUT),
    ],
)
def test_bodies(body, found):
    assert read_body(body) == found


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "no"}, **completion("A red")},
        {"object": "error", "message": "model worker died"},
        {"choices": [{"error": {"message": "no"}, "message": {"content": ""}}]},
        completion("A red ", refusal="I can't help with that."),
    ],
)
def test_bodies_with_an_error(body):
    assert isinstance(read_body(body), str)
