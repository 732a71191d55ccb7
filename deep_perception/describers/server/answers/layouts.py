"""Step 4 of reading an answer: the label, the sentence and the attributes in its text.

An answer is one of: a JSON object; lines or XML elements with names ("Label: red cup"); a table; a
short line and a sentence, with or without numbers; or a sentence, whose first phrase is the label.
Around it may be a code fence, an opening ("Sure! Here it is:") and a closing ("Let me know ...").
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from deep_perception.describers.server.answers.answer import Answer
from deep_perception.describers.server.answers.labels import QUOTES, given_label, label_of
from deep_perception.describers.server.answers.objects import FENCE
from deep_perception.describers.server.answers.schema import TEXT_LENGTH
from deep_perception.describers.server.answers.sentences import ends_sentence
from deep_perception.describers.server.answers.text import clean

TOOL_CALL = re.compile(
    r"<\W{0,8}(?:dsml\W{0,8})?(?:tool[_▁ ]?calls?|function(?:[_▁ ]?calls?|=)|invoke)(?![a-z])|"
    r"^\W*functions?\.\w+|\[TOOL_CALLS\]",
    re.IGNORECASE,
)
# The names of the two parts in a text, in the languages that a prompt may be in.
LABEL_NAME = (
    r"label|name|object(?: name)?|noun ?phrase|short noun phrase|noun|title|line (?:1|one)|"
    r"first line|标签|標籤|名称|名稱|名词短语|名詞短語|物体|ラベル|名詞句|名称|名前|레이블|라벨|"
    r"명사구|이름|"
    r"bezeichnung|nominalphrase|name des objekts|étiquette|nom|groupe nominal|etiqueta|nombre|"
    r"sintagma nominal|frase nominal|rótulo|nome|etichetta|sintagma nominale|метка|название|"
    r"именная группа|"
    r"имя|التسمية|الاسم|العبارة الاسمية|برچسب|नाम|लेबल|संज्ञा वाक्यांश|etiket|isim öbeği|nhãn|tên|"
    r"danh từ|nama|naam"
)
TEXT_NAME = (
    r"caption|sentence|plain sentence|full sentence|description|desc|details?|properties|text|"
    r"line (?:2|two)|second line|"
    r"描述|句子|说明|說明|説明|文|キャプション|설명|문장|캡션|beschreibung|satz|description|"
    r"légende|phrase|"
    r"descripción|oración|frase|descrição|legenda|descrizione|didascalia|описание|предложение|"
    r"подпись|"
    r"الوصف|الجملة|توضیح|توصیف|جمله|विवरण|वाक्य|açıklama|cümle|mô tả|câu|deskripsi|kalimat|"
    r"beschrijving|zin"
)
NAMED = re.compile(
    r"^\W*(?:the |a |short |main |brief |one )*"
    rf"(?:(?P<label>{LABEL_NAME})|(?P<text>{TEXT_NAME}))\s*(?:\([^)]{{0,40}}\))?[\s*_`\"]*"
    r"(?: in (?:one|a|an|two|1|2)\b[^:：]{0,30})?(?: is)?\s*[:：=][\s*_`]*(?P<value>.*)$",
    re.IGNORECASE,
)
# The names without a colon, which count only if both are there.
LOOSELY_NAMED = re.compile(
    rf"^(?:(?P<label>{LABEL_NAME})|(?P<text>{TEXT_NAME}))(?:$|\s+[-–—>|]+\s+(?P<value>\S.*))$",
    re.IGNORECASE,
)
BOXED = re.compile(r"\${0,2}\\boxed\{(?:\\text\{)?([^{}]*)\}?\}\${0,2}")
ELEMENT = re.compile(
    r"<(label|name|noun_phrase|object|title|caption|description|sentence|text)>(.{0,1000}?)</\1>",
    re.IGNORECASE | re.DOTALL,
)
MARKUP = re.compile(
    r"<(b|i|em|strong|u|code|span|div|p|h[1-6]|ul|ol|li)(?:\s[^<>]{0,200})?>(.{0,1000}?)</\1>",
    re.I | re.DOTALL,
)
EMPHASIS = re.compile(r"(\*\*|__)(?=\S)([^*\n]{1,300}?)(?<=\S)\1")
MARKER = re.compile(
    r"^\s*(?:>+\s*)*(?:[-*+•·▪◦●○■□►–—]\s+|#{1,6}\s+|(?P<number>\(?\d{1,2}(?:[.):、．]|\s?[-–]\s)|"
    r"[①-⑳]|[⑴-⒇]|\d\ufe0f?\u20e3|\[\d\]\s|[一二][、．.]|\(?(?:[a-b]|i{1,2})[.)]\s))?\s*",
    re.IGNORECASE,
)
SECOND = re.compile(r"^[^\w\n]*2\W|②", re.MULTILINE)
AGREE = (
    r"sure(?: thing)?|certainly|of course|okay|ok|alright|all right|absolutely|great|got it|gladly|"
    r"no problem|yes|here (?:you go|you are|it is|they are)|好的|当然|當然|はい|わかりました|"
    r"承知しました|もちろん|"
    r"네|물론(?:입니다|이죠)?|natürlich|gerne?|klar|selbstverständlich|bien sûr|d'accord|voici|"
    r"claro(?: que sí)?|"
    r"por supuesto|certo|certamente|com certeza|конечно|хорошо|بالطبع|بالتأكيد|ज़रूर|"
    r"बिल्कुल|tabii(?: ki)?|"
    r"tentu(?: saja)?|chắc chắn rồi|natuurlijk|oczywiście"
)
OPENING_LINE = re.compile(
    rf"^(?:(?:{AGREE})[\s,.!。！，、]*)+(?:(?:here|this|below)\b.{{0,100}}?[:：.!])?\s*$|"
    r"^(?:here|below)(?:'s|’s| is| are)\b.{0,100}?[:：.!]?\s*$",
    re.IGNORECASE,
)
OPENING_WORDS = re.compile(
    rf"^(?:(?:{AGREE})[,.!。！，]+\s*)*(?:here(?:'s|’s| is| are) (?:the|a|an|my|your|what)\b"
    r"[^:：.\n]{0,80}[:：]\s*)?",
    re.IGNORECASE,
)
CLOSING_LINE = re.compile(
    r"^\W*(?:(?:please )?(?:let me know|feel free)|i hope|hope (?:this|that)|is there anything|"
    r"would you like|do you (?:want|need|have)|anything else|if you (?:need|want|have|would)|"
    r"note(?: that)?\s*:|please note|happy to|希望|如果(?:您|你)|如需|请(?:告诉|随时)|还有(?:什么|"
    r"其他)|他に|"
    r"ご不明|도움이 (?:되|필요)|wenn du|wenn sie|falls (?:sie|du)|lass (?:es )?mich wissen|"
    r"n'hésitez|si vous|espero que|si (?:necesitas|tienes)|se (?:precisar|hai bisogno)|"
    r"если (?:вам|у вас|нужно)|надеюсь)",
    re.IGNORECASE,
)
# Words of a label, or characters of one in a script without spaces.
LABEL_WORDS, LABEL_CHARACTERS = 6, 24
VERB = re.compile(r"\b(?:is|are|was|were|has|have|shows|contains|depicts)\b", re.IGNORECASE)


def from_text(content: str) -> tuple[Answer, bool]:
    """Return what a text without special tokens describes, and whether its label is a part of it.

    All parts of the answer are "" if there is no text.
    """
    elements = {name.lower(): value.strip() for name, value in ELEMENT.findall(content)}
    if elements:
        content = "\n".join(
            f"{name.replace('_', ' ')}: {value}" for name, value in elements.items()
        )
    if "\n" not in content.strip():
        content = content.replace("\\n", "\n")
    content = BOXED.sub(r"\1", content)
    content = MARKUP.sub(r"\2", re.sub(r"<br\s*/?>", "\n", FENCE.sub("", content)))
    lines = _without_frame([*_lines(content)])
    named = dict(_named(lines, NAMED))
    if not named:
        loosely = dict(_named(lines, LOOSELY_NAMED))
        named = loosely if len(loosely) == 2 else {}
    if named.get("label"):
        others = [line for line in lines if not NAMED.match(line) and line != named["label"]]
        text = named.get("text") or (others[-1] if others else named["label"])
        return Answer(given_label(named["label"]), unquoted(text)), False
    if named.get("text"):
        lines = [named["text"]]
    if len(lines) > 1 and _is_label(lines[0]) and not OPENING_LINE.match(lines[0]):
        text = clean(" ".join(map(unquoted, lines[1:])), TEXT_LENGTH)
        return Answer(given_label(lines[0]), text), False
    text = clean(unquoted(" ".join(lines)), TEXT_LENGTH)
    head = re.match(r"([^.:!?。：|]{2,60}?)(?:\s*[:：|]|\s+[-–—])\s+(\S.*)$", text)
    # A new sentence begins with a capital, where there are capitals.
    if (
        head
        and not head[2][0].islower()
        and _is_label(head[1])
        and not VERB.search(head[1])
        and len(head[2].split()) > 3
        and ends_sentence(head[2])
    ):
        return Answer(given_label(head[1]), head[2]), False
    return Answer(label_of(text), text), True


def _is_label(line: str) -> bool:
    words = line.split()
    long_word = max(map(len, words), default=0)
    return len(words) <= LABEL_WORDS and long_word <= LABEL_CHARACTERS and not (
        ends_sentence(line) and len(words) > 2 and line.rstrip().endswith((".", "!", "?"))
        and VERB.search(line)
    )  # fmt: skip


def _lines(content: str) -> Iterator[str]:
    """Yield the lines without list markers, emphasis and the frame of a table."""
    numbers = 0
    for raw in _rows(content.splitlines()):
        line = without_emphasis(raw)
        marker = MARKER.match(line)
        if marker and marker["number"]:
            # A number is a marker where it counts the lines: in "24. Dezember" and "1. FC Köln" it
            # does not.
            digits = re.sub(r"\D", "", marker["number"])
            following = line[marker.end() : marker.end() + 1]
            alone = not SECOND.search(content) and not following.islower()
            if digits and (int(digits) != numbers + 1 or following.isdigit() or alone):
                marker = None
            else:
                numbers += 1
        line = clean(line[marker.end() :] if marker else line, TEXT_LENGTH)
        line = re.sub(
            r"^([*_`~]+)(.+?)\1$|"
            r"^[\[(](?P<inner>[^\[\]()]+)[\])]$",
            _inside,
            line,
        ).strip("`")
        if re.search(r"\w", line):
            yield line


def _inside(match: re.Match[str]) -> str:
    return match["inner"] or match[2]


def _rows(lines: list[str]) -> Iterator[str]:
    """Yield the lines, and those of a table as named lines."""
    cells = [
        [cell.strip(" *") for cell in line.strip().strip("|").split("|")]
        for line in lines
        if line.strip().startswith("|") and not re.fullmatch(r"[\s|:+-]*", line)
    ]
    yield from (line for line in lines if not line.strip().startswith("|"))
    if len(cells) == 2 and all(NAMED.match(f"{name}: x") for name in cells[0]):
        cells = [list(pair) for pair in zip(*cells, strict=False)]
    yield from (": ".join(row[:2]) for row in cells)


def _without_frame(lines: list[str]) -> list[str]:
    """Return the lines without what a model says around its answer."""
    while len(lines) > 1 and CLOSING_LINE.match(lines[-1]):
        lines = lines[:-1]
    while len(lines) > 1 and not NAMED.match(lines[0]) and (
        OPENING_LINE.match(lines[0]) or lines[0].endswith((":", "："))
    ):  # fmt: skip
        lines = lines[1:]
    if lines:
        rest = OPENING_WORDS.sub("", lines[0])
        lines = [rest, *lines[1:]] if re.search(r"\w", rest) else lines
    return lines


def _named(lines: list[str], names: re.Pattern[str]) -> Iterator[tuple[str, str]]:
    """Yield the parts that have a name, with the value behind the name or in the next line."""
    for number, line in enumerate(lines):
        match = names.match(line)
        if not match:
            continue
        value = (match["value"] or "").strip()
        if not value and number + 1 < len(lines) and not names.match(lines[number + 1]):
            value = lines[number + 1]
        if re.search(r"\w", value):
            yield "label" if match["label"] else "text", unquoted(value)


def without_emphasis(text: str) -> str:
    """Return a text without the marks of Markdown around words."""
    return EMPHASIS.sub(lambda match: match[2] if re.search(r"\w", match[2]) else match[0], text)


def unquoted(text: str) -> str:
    """Return a text without quotation marks and emphasis around all of it."""
    text = text.strip("* ").strip()
    if len(text) > 2 and text[0] in QUOTES and text[-1] in QUOTES and not re.search(
        f"[{re.escape(QUOTES[:3] + '“”„«»「」')}]", text[1:-1].replace("'", "")
    ):  # fmt: skip
        return text[1:-1].strip()
    return text
