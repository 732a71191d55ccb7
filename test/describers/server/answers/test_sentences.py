"""Of a text that was cut off, the complete sentences stay, in any script."""

import pytest

from support.answers import read


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("A red cup. It has", "A red cup."),
        ("赤いカップ。「熱い！」と書いて", "赤いカップ。"),
        ("A red cup with 3.5 l! It", "A red cup with 3.5 l!"),
        ("A photo of Dr. Smith. He", "A photo of Dr. Smith."),
        ("Ein Schild „Halt!“ Es", "Ein Schild „Halt!“"),
        ("Un panneau dit « Stop. » Il a", "Un panneau dit « Stop. »"),
        ("一个红色的杯子。把手在右", "一个红色的杯子。"),
        ("一个杯子……把手", "一个杯子……"),
        ("赤い「カップ。」取っ手は", "赤い「カップ。」"),
        ("यह एक लाल कप है। इसका", "यह एक लाल कप है।"),
        ("هل هذا كوب أحمر؟ له", "هل هذا كوب أحمر؟"),
        ("یہ ایک سرخ کپ ہے۔ اس", "یہ ایک سرخ کپ ہے۔"),
        ("Սա կարմիր բաժակ է։ Այն", "Սա կարմիր բաժակ է։"),
        ("ይህ ቀይ ኩባያ ነው። እሱ", "ይህ ቀይ ኩባያ ነው።"),
        ("នេះជាពែងក្រហម។ វា", "នេះជាពែងក្រហម។"),
        ("ဒါက ခွက်အနီ ဖြစ်ပါတယ်။ သူ", "ဒါက ခွက်အနီ ဖြစ်ပါတယ်။"),
        ("འདི་ཕོར་པ་དམར་པོ་རེད། དེ", "འདི་ཕོར་པ་དམར་པོ་རེད།"),
        ("1. red cup\n2. A red cup. It", "A red cup."),
        ('{"label": "杯", "caption": "一个红色的杯子。把手', "一个红色的杯子。"),
    ],
)
def test_complete_sentences(content, text):
    assert read(content, "length")[1:] == (text, True)


def test_without_a_complete_sentence_there_is_none():
    for content in ("A photo of Dr. Smith", "一个红色的杯", "A cup of 3.5 l", "1. A red"):
        assert "breaks off" in read(content, "length")
