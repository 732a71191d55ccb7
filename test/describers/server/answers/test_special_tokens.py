"""Tokens of chat templates and tokenizers are in no label and in no text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.answers import CUP, DRAFT, RIGHT, read

WHOLE = ("red cup", "A red cup.", False)
TOKENS = (
    "<|im_end|>", "</s>", "<eos>", "<end_of_turn>", "<|endoftext|>", "<|eot_id|>", "<|end|>",
    "<turn|>", "<end_of_utterance>", "<｜end▁of▁sentence｜>", "<|return|>", "<|END_OF_TURN_TOKEN|>",
    "[EOS]", "<pad>", "<|some_new_token_7|>", "<some_new_token>", "[/INST]", "<0x0A>",
    "</w>", "[|endofturn|]", "[UNUSED_TOKEN_145]", "<eoa>", "<EOT>", "<stop>",
)  # fmt: skip


@pytest.mark.parametrize("token", TOKENS)
def test_a_token_at_the_end_of_a_text_of_a_line_and_of_a_value(token):
    assert read(f"red cup\nA red cup.{token}") == WHOLE
    assert read(f"red cup{token}\nA red cup.{token}{token}") == WHOLE
    assert read(f"{RIGHT}{token}") == WHOLE
    assert read({name: value + token for name, value in CUP.items()}) == WHOLE
    assert isinstance(read(token), str)


@pytest.mark.parametrize(
    "content",
    [
        "<s>red cup\nA red cup.</s>",
        "[/INST] red cup\nA red cup.",
        "<|im_start|>assistant\nred cup\nA red cup.<|im_end|>",
        "<start_of_turn>model\nred cup\nA red cup.<end_of_turn>",
        "<|start_header_id|>assistant<|end_header_id|>\n\nred cup\nA red cup.<|eot_id|>",
        "assistant\nred cup\nA red cup.",
        "ASSISTANT: red cup\nA red cup.",
        "<|vision_start|><|image_pad|><|vision_end|>red cup\nA red cup.",
        "<|object_ref_start|>red cup<|object_ref_end|><|box_start|>(1,2),(3,4)<|box_end|>\n"
        "A red cup.",
        "<ref>red cup</ref><box>[[1, 2, 3, 4]]</box>\nA red cup.",
        "red cup<loc_12><loc_34>\nA red cup.",
        '<point x="10.5" y="20.1" alt="red cup">red cup</point>\nA red cup.',
        "<|begin_of_box|>red cup\nA red cup.<|end_of_box|>",
        f"<answer><|begin_of_box|>{RIGHT}<|end_of_box|></answer>",
        "red<0x20>cup<0x0A>A red cup.<0x0A>",
        "▁red▁cup\n▁A▁red▁cup.",
        "redĠcupĊAĠredĠcup.",
        "\x1b[31mred cup\x1b[0m\nA red cup.",
        # The model goes on with turns of its own.
        f"{RIGHT}<|im_end|>\n<|im_start|>user\nAgain<|im_end|>\n<|im_start|>assistant\n{DRAFT}",
        "red cup\nA red cup.\nuser\nAnd the dog?\nassistant\nA blue dog.",
        "red cup\nA red cup.\nUser: And the dog?",
        "red cup\nA red cup.<|endoftext|>The blue dog went on.",
    ],
)
def test_tokens_around_an_answer(content):
    assert read(content) == WHOLE


@pytest.mark.parametrize(
    "text",
    [
        "A sign that reads [INST] in black letters.",
        "A monitor that shows the HTML tag <div> in white letters.",
        "A display with the bars ▁▂▃▄▅▆▇.",
        "A mug with I <3 you.",
        "A keyboard key labelled [INST].",
        "A cable with a |<| connector.",
        "A shop of the name Ġobon.",
        "A hotel sign with ***** stars.",
        "An assistant holds a model of a ship.",
    ],
)
def test_what_looks_like_a_token_may_be_in_an_image(text):
    assert read(text)[1] == text


PIECES = (
    *TOKENS, "<think>", "</think>", "<|channel|>final<|message|>", "{", "}", '"label"', ":", '"',
    "red cup", "\n", "A red cup.", "1. ", "- ", "**", "|", "```", "I'm sorry, ", "Label:",
    "Answer: ", "\\", "\u200c", "<0xE2>", "\x1b[", RIGHT, DRAFT,
)  # fmt: skip


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=20), st.booleans())
def test_whatever_comes_no_token_stays(pieces, is_cut):
    found = read("".join(pieces), "length" if is_cut else "stop")
    if not isinstance(found, str):
        label, text, _ = found
        assert label.strip() == label != "" != text
        assert not any(
            token in label + text for token in TOKENS if token[:2] in ("<|", "</", "<｜")
        )
        assert "think>" not in label + text or "think" in "".join(pieces).replace("<think>", "")
