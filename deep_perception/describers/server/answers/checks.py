"""Step 5 of reading an answer: whether a label and a text describe something."""

from __future__ import annotations

import re

from deep_perception.describers.server.answers.refusals import only_says_sorry, refuses
from deep_perception.describers.server.answers.repetition import repeats
from deep_perception.describers.server.answers.thinking import thinks_aloud

# Small models return the names that the prompt and the schema give to the parts of an answer. Names
# of what an image may show, such as "label" or "text", are not in the list.
PLACEHOLDER = re.compile(
    r"^\W*(?:the |a |an |your |short )*(?:noun[ _]phrase|caption|sentence|string|"
    r"name of the object|"
    r"label and caption)\W*$",
    re.IGNORECASE,
)
# What servers write into a text instead of an answer. A monitor that shows "Error: no signal"
# has a label of its own, or quotation marks.
ERROR = re.compile(
    r"^[^\w\"'“”„«»「『‘’<]*(?:"
    r"(?:(?:fatal|internal|server|api|runtime|generation|inference|model|engine|cuda|unexpected|"
    r"unknown|system|network|http|value|type|key|index|request|stream|the|an?)[ _-]?)*"
    r"(?:error|exception|failure)\b(?: code)?[ \])]{0,8}(?:\(?\d{3}\)?|\([^)]{1,40}\))?\s{0,8}"
    r"(?:[:：]|[-–—] |$|\]|\()|"
    r"(?:\w+ ){0,3}?(?:generation|inference|request|processing|decoding|prediction|completion|"
    r"tokeni[sz]ation|prefill|worker|engine|server|backend|upstream|provider|model) (?:has |call )?"
    r"(?:failed|crashed|timed out|returned an error|is (?:overloaded|unavailable|not loaded|"
    r"busy))\b|"
    r"(?:failed|unable) to (?:generate|process|load|decode|run|parse|create|allocate|download|"
    r"fetch|"
    r"encode|complete|initiali[sz]e|get a response|call|reach)\b|"
    r"(?:an? |internal |unexpected |server |unknown |some )*(?:error|"
    r"exception) (?:has )?(?:occurred|"
    r"happened|while|during|in (?:processing|generating))\b|"
    r"network error\b.{0,40}(?:traffic|refresh|regenerate|timeout)|"
    r"traceback \(most recent|\w[\w.]*(?:Error|Exception)\b\s*[:(]|(?:cuda |gpu )?out of memory\b|"
    r"something went wrong|(?:http |status(?: code)? )[45]\d\d\b|<?!?doctype html|<html|"
    r"(?:rate limit|quota|context (?:length|window|size)|token limit)\w* (?:was |is |has been )?"
    r"(?:exceeded|reached|full)|service (?:temporarily )?unavailable|bad (?:gateway|request)\W*$|"
    r"no response (?:was )?(?:generated|received)|\[?(?:no|empty) (?:response|output|"
    r"content)\]?\W*$|"
    r"生成失败|生成失敗|请求(?:失败|超时)|(?:发生|出现|發生)(?:了)?(?:错误|錯誤)|(?:系统|系統|"
    r"服务器|内部)?(?:错误|錯誤)[:：]|"
    r"エラー(?:が発生|[:：])|오류(?:가 발생|[:：])|fehler(?: (?:bei|beim|ist aufgetreten)|[:：])|"
    r"erreur(?: (?:lors|interne)|\s?[:：])|error(?: (?:al|interno|en la|na|durante))|"
    r"errore(?: (?:durante|interno)|:)|"
    r"ошибка(?: (?:при|сервера)|:)|произошла ошибка)",
    re.IGNORECASE,
)  # fmt: skip


def find_problem(label: str, text: str, prompt: str, *, is_prose: bool) -> str:
    """Return why a label and a text are no description, "" if they are one.

    ``is_prose``: the label was taken from the text.
    """
    if not re.search(r"[^\W_]", label) or not re.search(r"[^\W_]", text):
        return "the answer is empty"
    if thinks_aloud(text) or (not is_prose and thinks_aloud(label)):
        return f"the model thinks instead of answering: {text[:80]}"
    if refuses(text) or only_says_sorry(text) or (not is_prose and refuses(label)):
        return f"the model refused: {text[:120]}"
    if (is_prose or ERROR.match(label)) and is_error(text):
        return f"the answer is an error: {text[:120]}"
    if PLACEHOLDER.match(text):
        return f"the answer repeats the question: {text}"
    if repeats(text) or repeats(label):
        return f"the answer repeats itself: {text[:80]}"
    if _echoes(_words(text), _words(prompt)):
        return f"the answer repeats the question: {text[:80]}"
    return ""


def is_placeholder(text: str) -> bool:
    """Return whether a text stands for a value: ``...``, ``<noun phrase>``, ``string``."""
    return bool(
        not re.search(r"[^\W_]", text) or PLACEHOLDER.match(text) or re.fullmatch(r"<[^<>]+>", text)
    )


def is_error(text: str) -> bool:
    """Return whether a text is the error message of a server."""
    return bool(ERROR.match(text))


def _words(text: str) -> list[str]:
    """Return the words of a text, and each character of a script without spaces."""
    return re.findall(
        r"[\u2e80-\u9fff\uac00-\ud7af\u0e00-\u0eff]|"
        r"[^\W\u2e80-\uffff]+",
        text.lower(),
    )


def _echoes(words: list[str], prompt: list[str]) -> bool:
    """Whether eight words in a row, or all five to seven words of a text, are in the prompt."""
    length = min(8, len(words))
    if length < 5:
        return False
    phrases = {tuple(prompt[i : i + length]) for i in range(len(prompt) - length + 1)}
    return any(tuple(words[i : i + length]) in phrases for i in range(len(words) - length + 1))
