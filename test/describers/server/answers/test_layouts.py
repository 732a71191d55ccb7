"""The label and the sentence, in whatever form they come."""

import json

import pytest

from support.answers import CUP, DRAFT, RIGHT, read

WHOLE = ("red cup", "A red cup.", False)


@pytest.mark.parametrize(
    "content",
    [
        "red cup\nA red cup.",
        "1. red cup\n2. A red cup.",
        "1) red cup\n2) A red cup.",
        "(1) red cup\n(2) A red cup.",
        "①red cup\n②A red cup.",
        "a) red cup\nb) A red cup.",
        "- red cup\n- A red cup.",
        "• red cup\n• A red cup.",
        "* **red cup**\n* A red cup.",
        "**red cup**\n\nA red cup.",
        "# red cup\nA red cup.",
        "> red cup\n> A red cup.",
        '"red cup"\n"A red cup."',
        "<b>red cup</b><br>A red cup.",
        "```\nred cup\nA red cup.\n```",
        "i. red cup\nii. A red cup.",
        "[1] red cup\n[2] A red cup.",
        "1️⃣ red cup\n2️⃣ A red cup.",
        "一、red cup\n二、A red cup.",
        "[red cup]\n[A red cup.]",
        r"red cup\n A red cup.",
        "Object: red cup\nDetails: A red cup.",
        "Noun phrase: red cup\nSentence: A red cup.",
        "**Noun phrase:** red cup\n**Sentence:** A red cup.",
        "1. Noun phrase: red cup\n2. Sentence: A red cup.",
        "Noun phrase - red cup\nSentence - A red cup.",
        "### Noun phrase\nred cup\n\n### Sentence\nA red cup.",
        "The noun phrase is: red cup\nThe sentence is: A red cup.",
        "Label:\nred cup\nCaption:\nA red cup.",
        "Line 1: red cup\nLine 2: A red cup.",
        "标签：red cup\n描述：A red cup.",
        "Bezeichnung: red cup\nBeschreibung: A red cup.",
        "<label>red cup</label>\n<caption>A red cup.</caption>",
        "| label | caption |\n|---|---|\n| red cup | A red cup. |",
        "| label | red cup |\n|---|---|\n| caption | A red cup. |",
        "Sure! Here it is:\n\nred cup\nA red cup.",
        "Certainly.\nred cup\nA red cup.",
        "Here are the two lines you asked for:\nred cup\nA red cup.\nI hope this helps!",
        "当然！以下是描述：\nred cup\nA red cup.",
        "Natürlich! Hier ist die Beschreibung:\nred cup\nA red cup.",
        "red cup\nA red cup.\n\nLet me know if you need anything else.",
        f"Sure! Here it is:\n{RIGHT}\nAnything else?",
        json.dumps(RIGHT),
        str(CUP),
        RIGHT.replace('"}', '",}'),
        RIGHT.replace('"', "“"),
        "{label: 'red cup', caption: 'A red cup.'}".replace("'", '"'),
        RIGHT.replace("A red cup.", "A red\ncup."),
        RIGHT.replace(",", ""),
        RIGHT.replace(",", ";"),
        RIGHT.strip("{}"),
        RIGHT.replace('"', r"\""),
        json.dumps({"regions": [CUP]}),
        json.dumps({"object_label": "red cup", "object_caption": "A red cup."}),
        json.dumps({"label": "Label: red cup", "caption": "Caption: A red cup."}),
        json.dumps({"label": "1. red cup", "caption": "2. A red cup."}),
        json.dumps({"label": "**red cup**", "caption": '"A red cup."'}),
        json.dumps({"answer": CUP}),
        json.dumps({"result": RIGHT}),
        json.dumps({"properties": CUP}),
        json.dumps({"Noun_Phrase": "red cup", "Sentence": "A red cup."}),
        f"[{RIGHT}, {DRAFT}]",
        f"{RIGHT}\n{DRAFT}",
        json.dumps({"name": "describe", "arguments": CUP}),
    ],
)
def test_every_layout_of_a_label_and_a_sentence(content):
    assert read(content) == WHOLE


@pytest.mark.parametrize(
    ("content", "label"),
    [
        ("The region shows a red cup on a table.", "red cup"),
        ("The object inside the outline is most likely a red cup. It has a rim.", "red cup"),
        ("Based on the image, the outlined region is a red cup with a white rim.", "red cup"),
        ("Sure! A red cup with a white rim on a table.", "red cup"),
        ('"Sorry, we\'re closed" on a white sign.', "Sorry, we're closed"),
        ("一个红色的杯子，放在木桌上。", "一个红色的杯子"),
        ("24. Dezember sign\nA sign with a date.", "24. Dezember sign"),
        ("1. FC Köln scarf\nA red and white scarf.", "1. FC Köln scarf"),
        ("1.5 l bottle\nA bottle.", "1.5 l bottle"),
        ("#1 fan mug\nA mug.", "#1 fan mug"),
        ("-40 °C display\nA display.", "-40 °C display"),
        ("'66 Mustang\nA red car.", "'66 Mustang"),
        ("Model\nA model on a runway.", "Model"),
        ("Name tag: John\nA name tag.", "Name tag: John"),
        ("Sure deodorant\nA white stick.", "Sure deodorant"),
        ("Here comes the sun poster\nA poster.", "Here comes the sun poster"),
        ("Answer sheet\nA sheet of paper.", "Answer sheet"),
        ("Text on a wall\nA painted wall.", "Text on a wall"),
        ("OK button\nA green button.", "OK button"),
        ("C++ book\nA book.", "C++ book"),
    ],
)
def test_labels(content, label):
    assert read(content)[0] == label


@pytest.mark.parametrize(
    "content",
    [
        '{"type": "object", "properties": {"label": {"type": "string"}}}',
        '{"name": "zoom_in", "arguments": {"box": [0, 0, 10, 10]}}',
        "<tool_call>\n<function=zoom_in>\n</function>\n</tool_call>",
        '<invoke name="zoom"><parameter name="factor">2</parameter></invoke>',
    ],
)
def test_a_schema_or_a_call_is_no_description(content):
    assert isinstance(read(content), str)


def test_attributes_without_thoughts_tokens_hints_and_refusals():
    from deep_perception.describers.server.answers import parse_answer
    from support.answers import PROMPT
    from support.chat_server import completion

    content = {
        **CUP, "category": "string", "material": "ceramic\x1b[0m", "state": "up to 4 words",
        "attributes": ["shiny<end_of_utterance>", "round", "round"], "confidence": "unknown",
        "color": "I'm sorry, I cannot determine the colour.", "affordances": ["grasp"] * 30,
    }  # fmt: skip
    assert parse_answer(completion(content), PROMPT).attributes == {
        "material": "ceramic", "attributes": "shiny, round", "affordances": "grasp",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("sentence", "label"),
    [
        ("A red mug stands on a table.", "red mug"),
        ("The black cat lies beside a bowl.", "black cat"),
        ("An old coat hangs from a hook on the wall.", "old coat"),
        ("Two night stands.", "Two night stands"),
        ("A wooden music stand.", "wooden music stand"),
    ],
)
def test_the_label_of_a_sentence_ends_before_its_verb(sentence, label):
    assert read(sentence)[0] == label
