"""What a model thinks is never a description, whatever marks it."""

import pytest

from support.answers import DRAFT, RIGHT, read

WHOLE = ("red cup", "A red cup.", False)
TEXT = "red cup\nA red cup."
NAMES = ("think", "thinking", "Thought", "reasoning", "ANALYSIS", "reflection", "scratchpad",
         "seed:think", "mm:think", "inner_monologue", "reasoning_content", "rationale")  # fmt: skip
TAGS = (
    *((f"<{name}>", f"</{name}>") for name in NAMES),
    ('<think duration="3">', "</think >"),
    ("[THINK]", "[/THINK]"),
    ("[REASONING]", "[/REASONING]"),
    ("◁think▷", "◁/think▷"),
    ("＜think＞", "＜/think＞"),
    ("&lt;think&gt;", "&lt;/think&gt;"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|THINK_START|>", "<|THINK_END|>"),
    ("<|START_THINKING|>", "<|END_THINKING|><|START_RESPONSE|>"),
    ("<|think|>", "<|/think|>"),
    ("<|channel>thought\n", "<channel|>"),
    ("<unused94>thought\n", "<unused95>"),
    ("<|inner_prefix|>", "<|inner_suffix|>"),
    ('<details type="reasoning" done="true"><summary>Thought</summary>', "</details>"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|message|>"),
    ("<|channel|>analysis<|message|>", "<|end|><|channel|>final <|constrain|>json<|message|>"),
    ("analysisWe need this. ", "assistantfinal"),
    ("Here is my thought process: ", "\nHere is my response: "),
    ("Here are my reasoning steps:\n", "\n[BEGIN FINAL RESPONSE]\n"),
    ("**Thinking**\n", "\n\n**Final Answer**\n"),
    ("Reasoning: ", "\nAnswer: "),
    ("首先想一想。", "\n最终答案："),
)
# Escaped twice, with spaces, as a block of code, and elements of names that nobody knows.
OTHERS = (
    ("<think>", "<\\/think>\n"),
    ("<think>", "< / think >"),
    ("\\u003cthink\\u003e", "\\u003c/think\\u003e"),
    ("```thinking\n", "\n```\n"),
    ("Thinking...\n", "\n...done thinking.\n"),
    ("<contemplator>", "</contemplator>"),
    ("<some_new_name>", "</some_new_name>"),
    ("<思考>", "</思考>"),
    ("【思考】", "【/思考】\n【回答】"),
    ("", "/</think/>"),
    ("", "</Musing>"),
)
THOUGHT = f"The user wants a phrase. Maybe {DRAFT}? No."


@pytest.mark.parametrize(("opened", "closed"), (*TAGS, *OTHERS))
@pytest.mark.parametrize("right", [RIGHT, TEXT], ids=["json", "text"])
def test_what_is_behind_the_thought_is_the_answer(opened, closed, right):
    assert read(f"{opened}{THOUGHT}{closed}{right}") == WHOLE
    assert read(f"{opened}The user wants a phrase.\n{closed}\n\n{right}") == WHOLE


@pytest.mark.parametrize("closed", [closed for opened, closed in TAGS if "/" in closed])
@pytest.mark.parametrize("right", [RIGHT, TEXT], ids=["json", "text"])
def test_all_before_a_closing_mark_alone_is_thought(closed, right):
    assert read(f"{THOUGHT}\n{closed}\n\n{right}") == WHOLE


@pytest.mark.parametrize(
    "content",
    [
        *(f"{opened}A blue dog, {DRAFT}" for opened, _ in TAGS if opened[0] in "<[◁"),
        f"<think>{DRAFT}. No, it is a",
        "The user wants a noun phrase. It could be a blue dog. But",
        "Okay, so let me look at the picture. There is a blue dog.",
        "We need a phrase. A blue dog is my first idea.",
        "It is a blue dog. Wait, no, the tail is a handle.",
        "嗯，用户让我描述图片中的区域。可能是蓝色的狗。",
        "Okay, der Nutzer möchte eine Beschreibung. Vielleicht ein blauer Hund.",
        "Хорошо, пользователь просит описать область. Это собака.",
        "まず、ユーザーは領域の説明を求めています。青い犬かもしれません。",
        "Thinking Process:\n1. Draft: a blue dog\n2. Decide.",
    ],
)
def test_a_thought_without_an_answer_is_no_description(content):
    for reason in ("stop", "length"):
        problem = read(content, reason)
        assert isinstance(problem, str), problem
        assert "think" in problem or "empty" in problem or "without an answer" in problem


@pytest.mark.parametrize(
    "content",
    [
        f"<think>a</think>{DRAFT}<think>Wait, no dog.</think>{RIGHT}",
        f"<think>a<think>b</think> {DRAFT}</think>{RIGHT}",
        f"{DRAFT}\nWait, that is wrong:\n{RIGHT}",
        f"```json\n{DRAFT}\n```\nNo, it is a cup:\n```json\n{RIGHT}\n```",
        f"<think>{DRAFT}<answer>{RIGHT}</answer>",
        f"<answer>{RIGHT}</answer>\n{DRAFT}",
        '{"label": "<think>blue dog?</think>red cup", "caption": "no</think>A red cup."}',
        "Okay, the user wants a phrase. It is red.\n\nred cup\nA red cup.",
        f"{RIGHT}<think>Was that right? {DRAFT}",
        "thought\nred cup\nA red cup.",
        f"<think/>{RIGHT}",
        f"(thinking: {DRAFT}) {RIGHT}",
        f"### Reasoning\n{DRAFT}\n### Answer\nred cup\nA red cup.",
        "/no_think\nred cup\nA red cup.",
    ],
)
def test_of_drafts_the_last_one_is_the_answer(content):
    assert read(content) == WHOLE


def test_a_thought_that_the_server_separates():
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": DRAFT}]},
             {"type": "reasoning", "text": DRAFT}, {"type": "text", "text": RIGHT}]  # fmt: skip
    assert read(parts) == WHOLE
    for name in ("reasoning_content", "reasoning", "thinking"):
        assert read(RIGHT, **{name: DRAFT}) == WHOLE
        # A grammar may make a model write its answer there, and nothing else.
        for only in (RIGHT, f"```json\n{RIGHT}\n```", f"<think>hm</think>{RIGHT}"):
            assert read("", **{name: only}) == WHOLE
        for thought in (
            f"I could say {DRAFT} but it is a cup, so",
            f"{DRAFT} No",
            f"I think {DRAFT}",
        ):
            assert isinstance(read("", **{name: thought}), str)
    assert isinstance(read("A blue dog, maybe.", reasoning_content="A blue dog, maybe."), str)


@pytest.mark.parametrize(
    "text",
    [
        "The user interface of a phone.",
        "The user manual lies on a table.",
        "First aid kit on a wall.",
        "A sign that says wait, stop.",
        "A T-shirt printed with the tag <think>.",
        "Thought bubbles on a comic page.",
        "A whiteboard with the words final answer.",
        "Now hiring sign in a window.",
        "用户手册放在桌上。",
        "A book with the title Let me look.",
        "I see a red cup on a table.",
        "We Need To Talk, a book with a red cover.",
        "A 'Wait, what?' speech bubble.",
        "A t-shirt that says </head> in white letters.",
        "A step-by-step guide with pictures.",
    ],
)
def test_words_about_thoughts_may_describe_an_image(text):
    found = read(text)
    assert found[1] == text, found
