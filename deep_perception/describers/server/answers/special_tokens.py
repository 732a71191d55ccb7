"""Step 3 of reading an answer: the tokens of chat templates and tokenizers leave the text.

A token that ends a turn ends the answer: what follows is a turn that the model invented.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

from deep_perception.describers.server.answers.sentences import is_answer

# Bytes that a tokenizer could not join to a character: <0xE2><0x98><0x95> is a cup.
BYTES = re.compile(r"(?:<0x[0-9a-f]{2}>)+", re.IGNORECASE)
# Places in the image: what is between these tokens is numbers. PaliGemma and Florence have one
# token for each number.
NUMBERS = r"[\s\d.,:;()\[\]{}<>|/xy=\"'-]*"
PLACES = re.compile(
    r"<\|?/?(?:box|bbox|det|quad|poly(?:gon)?|point|points|loc|region|seg)(?:_start)?\|?>"
    rf"(?:(?!<\|?/?(?:box|bbox|det|quad|poly|point|loc)){NUMBERS})"
    r"(?:<\|?/?(?:box|bbox|det|quad|poly(?:gon)?|points?|loc|region|seg)(?:_end)?\|?>)"
    r"|<(?:loc|seg|bin|x|y|coord)_?\d{1,4}>|\{(?:<\d{1,4}>)+\}"
    r"|<(?:box|bbox)>[^<>]{0,80}</(?:box|bbox)>",
    re.IGNORECASE,
)
END_OF_TURN = re.compile(
    r"<\|(?:im_end|eot_id|eom_id|eot|eos|end|endoftext|end_of_text|end_of_turn|end_of_sentence|"
    r"endofturn|end_of_turn_token|endofchunk|endofmessage|end_of_message|return|user|human|"
    r"observation|diff_marker|turn_end|system)\|>|</s>|<eos>|<end_of_turn>|<turn\|>|"
    r"<end_of_utterance>|<endoftext>|<end_of_text>|<｜end▁of▁sentence｜>|<\|?eod\|?>|\[eos\]|"
    r"\[e~\[|"
    r"<｜user｜>|<im_end>|<\|im_start\|>\s*(?:user|system)\b|<start_of_turn>\s*user\b|"
    r"<\|?start_header_id\|?>\s*user\b|\[inst\]|<\|turn>\s*user\b|<_end_?>|<\|s\|>|"
    r"\[\|endofturn\|\]|"
    r"<[|｜]tool[▁_]calls?[▁_](?:section[▁_])?begin[|｜]>",
    re.IGNORECASE,
)
ROLE = r"(?:assistant|model|gpt|bot|chatbot)\b"
HEADER = re.compile(
    rf"<\|im_start\|>\s*(?:{ROLE})?|<start_of_turn>\s*(?:{ROLE})?|<\|turn>\s*(?:{ROLE})?|"
    rf"<\|start_header_id\|>\s*(?:{ROLE})?\s*<\|end_header_id\|>|<\|start\|>\s*(?:{ROLE})?",
    re.IGNORECASE,
)
# The same without tokens: "ASSISTANT: red cup", or a line of its own.
ROLE_LINE = re.compile(
    r"\A\s*(?:#+\s*)?(?:assistant|chatbot)\s*:|(?-i:\A\s*(?:assistant|model|bot|gpt)\s*(?:\n|$))",
    re.IGNORECASE,
)
# Tokens by their form, and the names of those in plain brackets, which may also be text.
TOKEN = re.compile(
    r"<\|[^<>|\s]{0,48}\|>|<｜[^<>｜\n]{1,48}｜>|<\|[a-z_]{1,24}>|<[a-z_]{1,24}\|>|"
    r"</?(?:s|bos|eos|pad|unk|cls|sep|mask|im_start|im_end|start_of_turn|end_of_turn|"
    r"start_of_image|"
    r"end_of_image|image_soft_token|image|img|im_patch|im_col|im_msg_sep|fake_token_around_image|"
    r"row_\d+_col_\d+|global-img|video|audio|ref|box|bbox|det|quad|grounding|p|phrase|object|"
    r"points?|od|caption_token|sos|eod|nl|sep|tool_call|tool_response|ocr|unused\d+|extra_id_\d+|"
    r"reserved_\w+|unused_token_\d+|special_\d+|ctrl\d+|dummy\d+|endoftext|end_of_text)"
    r"(?:\s[^<>]{0,120})?/?>|</?[a-z]+(?:_[a-z0-9]+)+>|<(?:sop|eop|gmask)>|"
    r"(?-i:\[/?(?:INST|SYS|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|IMG_BREAK|IMG_END|EOS|BOS|PAD|"
    r"UNK|CLS|SEP|gMASK|sop|eop|UNUSED_TOKEN_\d+|unused\d+)\])|\[\|[^\[\]|\s]{1,48}\|\]|<</?sys>>|"
    r"\[e~\[|\]~b\]",
    re.IGNORECASE,
)
# A token that was cut off, and what is glued to the end of a text and is no known token: a tag
# of any name that nothing opens, and a name in capitals in square brackets.
CUT_TOKEN = re.compile(
    r"<[|｜][^<>\s|｜]{0,48}[|｜]?\s*\Z|(?<=\S)</[a-z_]{0,24}\s*\Z", re.IGNORECASE
)
GLUED = re.compile(
    r"(?<=\S)(?:<(?P<closing>/?)(?P<name>[A-Za-z][\w-]{0,30})/?>|\[[A-Z][A-Z_]{1,24}(?:_?\d+)?\]|"
    r"\[(?:unused|multimodal)\d*\]|#{3})\s*\Z"
)
LONGEST_GLUED = 40
# How two kinds of tokenizers write a space and the end of a line, if they leak. In Maltese, "Ġ" is
# a letter: it stands at the start of a word or among capitals.
BYTE_LEVEL = re.compile(r"\S[ĠĊ](?![A-ZĠĦŻ])|[a-z.,][ĠĊ]")
# A text has an answer before this number of ends, or none: a model may write ends without an end.
MOST_ENDS = 30
# What follows a token if another turn begins.
TURN = re.compile(rf"(?:{TOKEN.pattern}|\s)*(?:user|human|system)\b", re.IGNORECASE)
CHAT = re.compile(
    r"\n\s*(?:user|human|question)\s*:|(?-i:\n\s*(?:user|human|assistant|system)\s*(?:\n|$)|"
    r"(?<=[.!?。])(?:user|assistant)\s*\n)",
    re.IGNORECASE,
)


def cut_at_end(text: str, whole: Sequence[tuple[int, int]] = ()) -> str:
    """Return the text up to the first token that ends a turn, if an answer is before it.

    A token behind a single phrase ends that line only. ``whole``: start and end of the parts that
    are no text: tokens in them end nothing.
    """
    for match in itertools.islice(END_OF_TURN.finditer(text), MOST_ENDS):
        if _is_shown(match) or any(first <= match.start() < last for first, last in whole):
            continue
        before = text[: match.start()]
        said = TOKEN.sub("", HEADER.sub("", before)).strip()
        if re.search(r"[^\W_]", said) and (is_answer(said) or TURN.match(text[match.start() :])):
            return before
    return text


def without_tokens(text: str, *, is_value: bool = False) -> str:
    """Return a text without special tokens.

    ``is_value``: it is a value of a JSON object, in which a first line "assistant" is no role.
    """
    text = BYTES.sub(_decode, text)
    text = cut_at_end(text)
    if not is_value:
        text = ROLE_LINE.sub("", text)
        if (turn := CHAT.search(text)) and text[: turn.start()].strip():
            text = text[: turn.start()]
    before = None
    while before != text:
        before = text
        text = "\n".join(map(_without_end, PLACES.sub(" ", text).split("\n")))
    text = TOKEN.sub(lambda match: match[0] if _is_shown(match) else " ", HEADER.sub("", text))
    if BYTE_LEVEL.search(text):
        text = text.replace("Ġ", " ").replace("Ċ", "\n")
    text = re.sub(r"</w>|(?<=\S)<br\s*/?>" if is_value else "</w>", " ", text)
    if re.fullmatch(r"\s*</?[A-Za-z][\w-]{0,30}/?>\s*", text):
        return ""
    # Beside other blocks, it is one of them.
    return text if re.search(r"[▂-█]", text) else text.replace("▁", " ")


def _without_end(text: str) -> str:
    """Return a line, or a value, without what is at its end and looks like a token."""
    text = CUT_TOKEN.sub("", text)
    # Each search looks at the last characters only: a text may end with thousands of tokens.
    while (glued := GLUED.search(text, max(0, len(text.rstrip()) - LONGEST_GLUED))) and not (
        glued["closing"] and f"<{glued['name']}" in text[: glued.start()]
    ):
        text = text[: glued.start()]
    return text


def _is_shown(token: re.Match[str]) -> bool:
    """Return whether a token in square brackets is within a sentence: a sign that reads [INST]."""
    line = token.string
    return token[0].startswith("[") and not token[0].startswith("[/") and bool(
        re.search(r"\w ?$", line[max(0, token.start() - 3) : token.start()])
        and re.match(r" ?[\w.]", line[token.end() : token.end() + 2])
    )  # fmt: skip


def _decode(match: re.Match[str]) -> str:
    return bytes.fromhex(re.sub(r"<0x|>", "", match[0].lower())).decode("utf-8", "ignore")
