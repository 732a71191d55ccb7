"""Step 2 of reading an answer: what a model thought, and what it answered.

Every family of marks is one of four kinds. ``OPEN`` starts a thought and ``CLOSE`` ends it; a
``CLOSE`` without an ``OPEN`` ends a thought that the prompt of the server opened, so all before it
is thought. ``ANSWER`` starts the answer: all before it is thought or a draft. ``END`` ends a
message: the thought within it, or the answer, if something was answered. A thought that is not
closed goes on to the end of the text. What a model writes before a thought is a draft, if it writes
something behind it as well.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from deep_perception.describers.server.answers.sentences import is_answer

OPEN, CLOSE, ANSWER, END, NOTHING = "open", "close", "answer", "end", "nothing"

THOUGHT = (
    # Any words before it: my_thoughts, deep-thinking.
    r"(?:(?!(?:end|begin|start|of)[_-])[a-z]{1,12}[_-]){0,2}"
    r"(?:inner[ _-]?|internal[ _-]?)?(?:think(?:ing)?(?:[ _-]?process)?|"
    r"thoughts?(?:[ _-]?process)?|reasoning(?:[ _-]?(?:process|content|steps))?|reason|rationale|"
    r"reflections?|reflect|analysis|analy[sz]e|scratch[ _-]?pad|chain[ _-]of[ _-]thoughts?|"
    r"cot(?:_budget_reflect)?|monolog(?:ue)?|deliberation|planning|brainstorm(?:ing)?|drafts?|"
    r"observations?|self[ _-]?(?:critique|check|reflection)|critique|critic|commentary|"
    r"justification|contemplat(?:ion|or)|dialog(?:ue)?|思考(?:过程|過程)?|推理|생각|réflexion)"
    r"(?:[_-](?:mode|block|trace|scratchpad))?"
)
# As a heading only these: an "Analysis:" or an "Observation:" may be the description itself.
HEADING = (
    r"(?:my |the )?(?:think(?:ing)?|thoughts?|reasoning)(?: process| steps)?|"
    r"chain[ -]of[ -]thought|"
    r"(?:思考|推理)(?:过程|過程)?|사고 과정"
)
REPLY = (
    r"(?:final[ _-]?)?(?:answer|response|output|solution|conclusion|result|reply)|final|"
    r"(?:最终|最終)?(?:回答|答案|答え)|답변"
)
LEFT = r"(?:<|＜|&lt;|\\u003c|◁|⟨|【)\s*[|｜]?"
RIGHT = r"(?:[|｜]\s*)?(?:>|＞|&gt;|\\u003e|▷|⟩|】)"
BEGIN_OF = r"(?:begin|start)[_▁ -]?(?:of[_▁ -]?)?"
END_OF = r"(?:\\?/\s{0,3}|end[_▁ -]?(?:of[_▁ -]?)?)"


def _tag(names: str, *, closes: bool) -> str:
    """Return a pattern for <think>, <seed:think>, <|begin_of_thought|>, <|THINK_END|>, ◁/think▷."""
    name = rf"(?:[a-z]+:)?(?:{names})"
    if closes:
        return rf"{LEFT}(?:{END_OF}{name}|{name}[_▁ -]end)\s*/?{RIGHT}"
    attributes = r"(?:\s[^<>\[\]{}]{0,80})?"
    return rf"{LEFT}(?:{BEGIN_OF})?{name}(?:[_▁ -](?:start|begin))?{attributes}\s*{RIGHT}"


# A channel of gpt-oss ("harmony"), with what may stand between its name and its text.
CHANNEL = (
    r"(?:<\|start\|>\s*(?:\w+\s*)?)?<\|channel\|>\s*{name}"
    r"(?:[^<]{{0,80}}(?:<\|constrain\|>[^<]{{0,40}})?<\|message\|>)?"
)
INTERNAL = r"(?:analysis|commentary|thoughts?|thinking|reasoning|justification|scratchpad|critic)\b"
LINE, LINE_END = r"(?:^|(?<=\n))[ \t>]*(?:[#*_\[]+[ \t]*)?", r"[ \t]*(?:[\]*_]+[ \t]*)?"
FINAL = (
    r"final (?:answer|response|output|description|result)|(?:begin )?final response|"
    r"最终(?:的)?(?:答案|回答)|最終(?:的な)?(?:回答|答え)|최종 (?:답변|답)|endgültige antwort|"
    r"réponse finale|respuesta final|resposta final|risposta finale|итоговый ответ|"
    r"окончательный ответ|الإجابة النهائية|अंतिम उत्तर|nihai cevap|câu trả lời cuối cùng"
)
PLAIN = (
    r"(?:my )?(?:answer|response|output|final)|答案|回答|答え|답변|antwort|réponse|respuesta|"
    r"resposta|risposta|"
    r"ответ|الإجابة|उत्तर|cevap"
)
MINE = r"(?:here(?:'s|’s| is| are)|this is) my (?:final )?"
MARKS = tuple(
    (kind, re.compile(pattern, re.IGNORECASE))
    for kind, pattern in (
        (ANSWER, _tag(REPLY, closes=False)),
        (END, _tag(REPLY, closes=True)),
        (END, rf"{LEFT}(?:[a-z]+:)?(?:{THOUGHT})\s*/\s*{RIGHT}"),  # An empty thought.
        (CLOSE, _tag(THOUGHT, closes=True)),
        (OPEN, _tag(THOUGHT, closes=False)),
        # Magistral writes [THINK]; such a tag in small letters may be part of an image.
        (OPEN, rf"(?-i:\[(?:{THOUGHT.upper()})\])"),
        (CLOSE, rf"\[/(?:{THOUGHT})\]|\[end (?:of )?(?:{THOUGHT})\]"),
        (ANSWER, r"\[begin (?:of )?(?:final )?(?:response|answer)\]"),
        (END, r"\[end (?:of )?(?:final )?(?:response|answer)\]"),
        # Open WebUI's form, and Apertus' and Kimi's.
        (
            OPEN,
            r"<details\b[^<>]{0,200}\b(?:reasoning|thinking|"
            r"thought)[^<>]{0,200}>(?:\s*<summary>[^<]{0,200}</summary>)?|"
            r"<details>\s*<summary>[^<]{0,200}(?:thought|thinking|reasoning)[^<]{0,200}</summary>",
        ),
        (CLOSE, r"</details>"),
        (OPEN, r"<\|inner_prefix\|>"),
        (CLOSE, r"<\|inner_suffix\|>"),
        (OPEN, r"<\|open\|>\s*think\s*<\|sep\|>"),
        (CLOSE, r"<\|close\|>\s*think\s*<\|sep\|>"),
        (ANSWER, r"<\|open\|>\s*response\s*<\|sep\|>"),
        (END, r"<\|close\|>\s*response\s*(?:<\|sep\|>)?"),
        # A code block of thoughts, and what programs print around them.
        (OPEN, rf"(?:```|~~~)[ \t]*(?:{THOUGHT})[ \t]*\n"),
        (OPEN, r"\A\s*thinking\.{3}[ \t]*\n"),
        (CLOSE, r"(?:^|(?<=\n))[ \t]*\.{3}[ \t]*done thinking\.?"),
        # gpt-oss, with its special tokens and, from a server that strips those, without them.
        (OPEN, CHANNEL.format(name=INTERNAL)),
        (ANSWER, CHANNEL.format(name=r"\w+")),
        (ANSWER, r"(?:<\|start\|>\s*)?(?:assistant\s*)?<\|message\|>"),
        (END, r"<\|(?:end|call|return)\|>"),
        (OPEN, r"(?-i:\A\s*(?:assistant)?(?:analysis|commentary)(?=[^\sa-z.,:;!?)(-]))"),
        (OPEN, r"(?-i:assistant(?:analysis|commentary)(?:\s+to=\S+)?)"),
        (ANSWER, r"(?-i:assistant\s?final)"),
        # Gemma 4, MedGemma and Gemini.
        (OPEN, r"<\|channel>\s*(?:\w+\n)?|<unused94>\s*(?:thought\b)?|<ctrl94>\s*(?:thought\b)?"),
        (CLOSE, r"<channel\|>|<unused95>|<ctrl95>"),
        (NOTHING, r"\A\s*/(?:no_?)?think\b"),
        # The header of Gemma's thought where the server stripped its tokens.
        (NOTHING, r"(?-i:\A\s*thought(?:\s*\n|\[\]|(?=[A-Z\"{])))"),
    )
)
# Granite and Apriel, and texts that say in words which part is the answer.
HEADINGS = tuple(
    (kind, re.compile(pattern, re.IGNORECASE))
    for kind, pattern in (
        (OPEN, rf"\A\s*{LINE}(?:{MINE})(?:{THOUGHT})(?: steps)?{LINE_END}[:：]"),
        (OPEN, rf"\A\s*{LINE}(?:{HEADING}){LINE_END}(?:[:：]|\n)"),
        (ANSWER, rf"(?:{LINE}|(?<=\s))(?:{MINE})(?:answer|response){LINE_END}[:：]"),
        (ANSWER, rf"{LINE}(?:{FINAL}){LINE_END}(?: is)?(?:[:：]|$|(?=\n)){LINE_END}"),
        (ANSWER, rf"{LINE}(?:{PLAIN}){LINE_END}[:：]{LINE_END}"),
        (ANSWER, r"(?:^|(?<=\n))[ \t]*#{1,6}[ \t]*(?:my |the )?(?:answer|response|"
                 r"output)[ \t]*(?=\n)"),
    )
)  # fmt: skip


# Elements of any other name, and those that are parts of an answer or markup.
ELEMENT = re.compile(r"\s*(?P<bracket><|【|\[\[?|\{)(?P<name>[^\W\d][\w-]{1,40})[>\]】}]{1,2}")
CLOSING_ALONE = re.compile(
    r"(?:^|(?<=[\n.!?。！？…}\]]))[ \t]*(?P<tag></(?P<name>[^\W\d][\w-]{2,40})>)(?=\s*\n\s*\w|\w|"
    r"\s*\{)"
)
FENCE_OF_THOUGHT = re.compile(
    rf"(```|~~~)[ \t]*(?:{THOUGHT})[ \t]*\n.*?\n(?P<end>\1)", re.IGNORECASE | re.DOTALL
)
NOT_THOUGHT = re.compile(
    rf"{REPLY}|(?:short[_-])?(?:label|noun[_-]?phrase|object|title|name|caption|text|sentence|"
    r"description|region|regions|json|data|item|xml|root|im_\w+|start_\w+|s|bos|ref|box|bbox|quad|"
    r"det|"
    r"point|points|phrase|p|b|i|em|strong|u|code|pre|span|div|h[1-6]|ul|ol|li|br|html|body|head|"
    r"img|"
    r"image|images|tool_call|function_call|functions?|parameter|invoke|assistant|user|system|model|"
    r"inst|sys|loc|seg|grounding|ocr|details|summary|table|td|tr|th|markdown|begin_\w+|end_\w+)",
    re.IGNORECASE,
)


class Parts(NamedTuple):
    """The two parts of a text."""

    answer: str
    thought: str


class _Mark(NamedTuple):
    start: int
    end: int
    kind: str


def split(text: str, whole: Sequence[tuple[int, int]] = (), *, headings: bool = True) -> Parts:
    """Return what a text answers, and what in it is thought.

    ``whole``: start and end of the parts that are no text, such as complete JSON objects: marks
    within them are no marks of the text. ``headings``: whether "Answer:" and the like are marks.
    """
    answer, thoughts = "", []
    state, position, has_thought = ANSWER, 0, False
    for mark in [*_marks(text, whole, headings), _Mark(len(text), len(text), NOTHING)]:
        part, position = text[position : mark.start], mark.end
        if state != ANSWER:
            thoughts.append(part)
            has_thought = has_thought or (state == OPEN and _has_words(part))
        else:
            if has_thought and _has_words(part):
                # The first words behind a thought: what was said before it was a draft.
                thoughts.append(answer)
                answer, has_thought = "", False
            answer += part
        if mark.kind == ANSWER or (mark.kind == CLOSE and state == ANSWER):
            thoughts.append(answer)
            answer = ""
        if mark.kind == END:
            state = END if state == ANSWER and is_answer(answer) else ANSWER
        elif mark.kind != NOTHING:
            state = OPEN if mark.kind == OPEN else ANSWER
    return Parts(answer.strip(), "\n".join(filter(None, map(str.strip, thoughts))))


def _has_words(text: str) -> bool:
    return bool(re.search(r"\w", text))


def _marks(text: str, whole: Sequence[tuple[int, int]], headings: bool) -> Iterator[_Mark]:
    """Yield the marks in order; of those at one place the first in the table counts."""
    found = sorted(
        (match.start(), order, match.end(), kind)
        for order, (kind, pattern) in enumerate(MARKS + HEADINGS if headings else MARKS)
        for match in pattern.finditer(text)
        if match.end() > match.start()
    )
    found = sorted([*found, *_marks_of_elements(text)])
    marks = []
    position = 0
    starts = [first for first, _ in whole]
    for start, _, end, kind in found:
        before = bisect.bisect(starts, start) - 1
        if start >= position and (before < 0 or start >= whole[before][1]):
            position = end
            marks.append(_Mark(start, end, kind))
    for number, mark in enumerate(marks):
        is_last = number + 1 == len(marks)
        if mark.kind != OPEN or not (is_last and _is_shown(text, mark)):
            yield mark


def _marks_of_elements(text: str) -> Iterator[tuple[int, int, int, str]]:
    """Yield the marks of elements of any name, with an order behind that of the known marks.

    An element in front of an answer is none, and neither is all before a closing tag that stands
    at the end of a sentence, where its name is no part of an answer and it was not opened.
    """
    last = len(MARKS + HEADINGS)
    position = 0
    while opened := ELEMENT.match(text, position):
        name, bracket = opened["name"], opened["bracket"]
        close = re.compile(
            rf"{re.escape(bracket)}/{re.escape(name)}[>\]】}}]{{1,2}}", re.IGNORECASE
        )
        closed = close.search(text, opened.end())
        if not closed or NOT_THOUGHT.fullmatch(name):
            break
        yield opened.start("bracket"), last, opened.end(), OPEN
        yield closed.start(), last, closed.end(), CLOSE
        position = closed.end()
    for opened in FENCE_OF_THOUGHT.finditer(text):
        yield opened.start("end"), last, opened.end("end"), CLOSE
    for closed in CLOSING_ALONE.finditer(text):
        name = closed["name"]
        if not NOT_THOUGHT.fullmatch(name) and f"<{name}" not in text:
            yield closed.start("tag"), last, closed.end("tag"), CLOSE


def _is_shown(text: str, mark: _Mark) -> bool:
    """Return whether an opening mark is a part of what an image shows: a shirt that says <think>.

    It is the last mark, within a sentence, and no thought follows.
    """
    before = text[text.rfind("\n", 0, mark.start) + 1 : mark.start]
    in_sentence = re.search(r"\w[\s\"'“«]*$", before) is not None
    return in_sentence and len(re.findall(r"\w+", text[mark.end :])) < 8


# -- thoughts without marks -----------------------------------------------------------------------

# What opens a thought that is told in prose. A description has neither a user nor an "I need to".
ALOUD: tuple[str, ...] = (
    # Its first words.
    r"^\W*(?:(?:okay|ok|alright|all right|hmm+|well|so|right|now|got it|first|yes|"
    r"sure)\b[,.!…]*\s*)*"
    r"(?:(?:but|and|then|so|now)\b,?\s*)?(?:"
    r"the user(?:'s|’s)? (?:wants|asks|asked|is asking|has (?:asked|given|provided)|would like|"
    r"gave|provided|requests?|requested|needs|query|prompt|question|request|instructions?)\b|"
    r"(?:let me|let's|let us) (?:think|look|see|analy[sz]e|examine|describe|start|consider|check|"
    r"break|focus|take|figure|identify|try|re|tackle|work|begin|approach|parse|inspect|study|craft|"
    r"determine|answer|evaluate|write|formulate|understand)|"
    r"(?:i am|i'm|i’m) (?:looking at|examining|analy[sz]ing|studying) (?:this|the) (?:image|"
    r"picture|"
    r"photo|region)\b|(?:i am|i'm|i’m) (?:trying to|thinking)\b|"
    r"step (?:1|one)\b\W.{0,300}\bstep (?:2|two)\b|"
    r"we need (?:(?:a|an|the|one) (?:\w+ )?(?:noun|phrase|label|caption|sentence|description|"
    r"answer|line|name|json)|to (?:output|respond|name|choose|decide|label|caption|see|know|reply|"
    r"get|guess|use|keep|make|infer|ensure|craft|pick)|(?:noun|phrase|label|json|answer|"
    r"output))\b|(?:i|we) (?:need|have|should|must|ought|could|"
    r"might) (?:to )?(?:say|describe|identify|look|"
    r"figure|determine|provide|give|answer|output|produce|write|return|analy[sz]e|find|focus|check|"
    r"call|go|think|consider|follow|be|examine)\b|"
    r"i(?:'m| am)? (?:being )?(?:asked to|going to)|i(?:'ll| will) (?:describe|say|go|answer|call|"
    r"start|now|look|analy[sz]e|provide)\b|we are (?:asked|given)\b|"
    r"(?:my|the) task (?:is|here|asks)\b|the (?:prompt|question|instructions?|task|request) "
    r"(?:says?|asks?|wants?|requires?|is to)\b|looking at (?:the|this) (?:image|picture), i\b)",
    # Words between two sentences.
    r"(?:^|[.!?…:]\s+)(?:but |no,? |oh,? )*(?:wait\b\s*[,.—…-]|hmm+\b|actually,? (?:no|wait|it|"
    r"i)\b|"
    r"let me (?:think|re|check|look)|i should (?:say|describe|answer)|i (?:could|might) say|"
    r"(?:so |thus |therefore,? )?the (?:final )?(?:answer|label) (?:should|would|could|must) be|"
    r"on second thought|scratch that)",
    # The same in languages that models are known to think in.
    r"^\W*(?:(?:好的?|嗯|首先|那么|现在|所以)[，,、。]?\s*)*(?:(?:这个)?用户(?:现在|目前|"
    r"当前)?(?:希望|想|要|让|"
    r"需要|问|请求|给|的(?:问题|请求))|"
    r"我(?:们)?(?:现在|目前|首先|还)?(?:需要|应该|得|来|先|要|将|必须)|让我(?:们)?|看看|題目|"
    r"题目)|(?:^|"
    r"[。！？]\s*)(?:等等|不对|等一下|嗯)[，,。…]",
    r"^\W*(?:まず|さて|では|えっと|うーん|そうですね)?[、,]?\s*(?:ユーザー(?:は|が|の)|質問は|"
    r"考えてみ)",
    r"^\W*(?:좋아|음+|먼저|자|그럼)?[,.]?\s*(?:사용자(?:가|는|의)|생각해)",
    r"^\W*(?:okay|gut|also|hmm+|zuerst)?[,.]?\s*(?:der (?:be)?nutzer (?:möchte|will|fragt|bittet|"
    r"hat)|"
    r"ich (?:muss|sollte?|werde)\b|(?:ich )?muss ich|lass(?:t|en)? (?:mich|uns|sie))",
    r"^\W*(?:d'accord|ok|bon|alors|hmm+)?[,.]?\s*(?:l['’]utilisateur (?:veut|demande|souhaite)|"
    r"je dois|il faut que je|laissez-moi|voyons)\b",
    r"^\W*(?:bien|vale|ok|hmm+|primero|bom|allora|bene)?[,.]?\s*(?:el usuario (?:quiere|pide|desea|"
    r"solicita)|o usuário (?:quer|pede|pediu|deseja)|l['’]utente (?:vuole|chiede)|necesito|"
    r"tengo que|"
    r"debo|preciso|devo|vamos a ver|veamos|vamos ver|vediamo)\b",
    r"^\W*(?:хорошо|так|ладно|хм+|итак)?[,.]?\s*(?:пользователь (?:хочет|просит|спрашивает|"
    r"попросил)|"
    r"мне (?:нужно|надо)|я (?:должен|должна)|давайте|посмотрим)\b",
    r"^\W*(?:حسنًا|حسنا)?[،,.]?\s*(?:المستخدم (?:يريد|يطلب|يسأل)|يريد المستخدم|يطلب المستخدم|"
    r"أحتاج إلى|يجب أن)",
    r"^\W*(?:ठीक है|अच्छा)?[,.]?\s*(?:उपयोगकर्ता|मुझे (?:बताना|वर्णन))",
    r"^\W*(?:người dùng (?:muốn|yêu cầu|hỏi)|tôi cần (?:phải )?|kullanıcı(?:nın)? (?:istiyor|"
    r"soruyor)|"
    r"pengguna (?:ingin|meminta)|użytkownik (?:chce|prosi|pyta)|użytkownika|gebruiker wil|"
    r"de gebruiker (?:wil|vraagt)|ผู้ใช้(?:ต้องการ|ขอ))",
)  # fmt: skip
_ALOUD: Callable[[str], object] = re.compile("|".join(f"(?:{p})" for p in ALOUD), re.I).search


def thinks_aloud(text: str) -> bool:
    """Return whether a text in prose is the thought of a model and no description."""
    return bool(_ALOUD(text))
