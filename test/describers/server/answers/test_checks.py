"""Refusals, errors, loops and echoes are no descriptions, and real words are none of them."""

import pytest

from support.answers import PROMPT, RIGHT, read

REFUSALS = (
    "I won't be able to identify people in this image.",
    "Hi! I can't see any image. Could you upload it?",
    "Without seeing the image, I cannot describe the object.",
    "I'd be happy to help, but I don't see any picture attached.",
    "No description available.",
    "Ich kann auf dem Bild nichts erkennen.",
    "Es wurde kein Bild bereitgestellt.",
    "No se ha proporcionado ninguna imagen.",
    "Изображение не предоставлено.",
    "由于图片模糊，无法确定具体内容。",
    "你好，这个问题我暂时无法回答。",
    "この画像について説明することはできません。",
    "저는 이미지를 인식할 수 없습니다.",
    "Уучлаарай, би зургийг харж чадахгүй байна.",
    "I'm sorry, but I can't help with that.",
    "I cannot identify people in images.",
    "I’m unable to see the image.",
    "Sorry, I can't assist with that request.",
    "As an AI language model, I do not see images.",
    "Unfortunately, I don't have access to the image.",
    "No image was provided.",
    "Es tut mir leid, ich kann diese Region nicht beschreiben.",
    "Leider kann ich das Bild nicht sehen.",
    "抱歉，我无法识别图像中的内容。",
    "很抱歉，无法识别该图片。",
    "對不起，我無法描述這張圖片。",
    "申し訳ありませんが、この画像を説明することはできません。",
    "すみません、お手伝いできません。",
    "죄송합니다. 이 이미지를 식별할 수 없습니다.",
    "Je suis désolé, mais je ne peux pas décrire cette image.",
    "Désolé, je ne peux pas vous aider.",
    "Lo siento, no puedo ayudar con eso.",
    "Desculpe, não posso ajudar com isso.",
    "Mi dispiace, non posso identificare l'oggetto.",
    "Извините, я не могу помочь с этим.",
    "К сожалению, я не вижу изображения.",
    "Вибачте, я не можу допомогти.",
    "عذراً، لا أستطيع مساعدتك في ذلك.",
    "متأسفم، من نمی‌توانم تصویر را ببینم.",
    "क्षमा करें, मैं इस छवि का वर्णन नहीं कर सकता।",
    "দুঃখিত, আমি এই ছবিটি বর্ণনা করতে পারছি না।",
    "மன்னிக்கவும், என்னால் இந்தப் படத்தை விவரிக்க முடியாது.",
    "ขออภัย ฉันไม่สามารถระบุวัตถุได้",
    "Xin lỗi, tôi không thể mô tả hình ảnh này.",
    "Maaf, saya tidak dapat membantu.",
    "Üzgünüm, bu resmi tanımlayamıyorum.",
    "Przepraszam, ale nie mogę pomóc.",
    "Omlouvám se, ale nemohu pomoci.",
    "Het spijt me, ik kan dit niet beschrijven.",
    "Tyvärr kan jag inte hjälpa till med det.",
    "Beklager, jeg kan ikke hjelpe med det.",
    "Undskyld, jeg kan ikke se billedet.",
    "Anteeksi, en voi auttaa.",
    "Sajnálom, nem tudok segíteni.",
    "Îmi pare rău, nu pot ajuta.",
    "Λυπάμαι, δεν μπορώ να βοηθήσω.",
    "אני מצטער, אני לא יכול לעזור.",
    "Pasensya na, hindi ko makita ang larawan.",
    "Samahani, siwezi kusaidia.",
    "Съжалявам, не мога да помогна.",
    "Žao mi je, ne mogu pomoći.",
    "\"I'm sorry, I can't help with that.\"",
    "**I'm sorry**, but I can't.",
    "I can't see any image.",
    "The image is not visible.",
    "I am not able to view images.",
    "I do not have enough information.",
    "ვწუხვარ, მაგრამ არ შემიძლია დახმარება",
    "معذرت، میں یہ نہیں کر سکتا",
    "Ներեցեք, ես չեմ կարող օգնել",
    "作为一个人工智能语言模型，我无法查看图片。",
    "It looks like no image was attached to your message.",
    "Please provide a valid image.",
    "You haven't uploaded an image yet.",
    "Your request was flagged by our content policy.",
    "[Content removed]",
    "The image is too blurry to identify anything.",
    "I need an image to describe it.",
    "我是一个文本模型，看不到图片。",
    "无法识别。",
    "Ich bin ein Sprachmodell und kann keine Bilder sehen.",
    "Je suis un modèle de langage, je ne peux pas voir les images.",
    "Я языковая модель и не могу видеть изображения.",
    "画像を確認できません。",
    "मैं छवि नहीं देख सकता।",
    "Görüntüyü göremiyorum.",
    "Tôi không thể xem hình ảnh.",
    "Saya tidak dapat melihat gambar.",
)
# What a sign, a shirt or a card may say, and what begins like a refusal.
NO_REFUSALS = (
    "一个无法识别的标志。",
    "There is no image on the coin.",
    "A description of a house on a sign.",
    '"Sorry, we\'re closed" on a white sign.',
    "Sorry, we're closed sign in a shop window.",
    "Sorry we missed you card on a door.",
    "A sign that says sorry.",
    "I can't even T-shirt on a hanger.",
    "I love New York mug",
    "I see a red cup.",
    "\"I'm sorry, I can't help\" printed on a white mug.",
    "“Sorry, I can't come to the phone” poster.",
    "Thank you card on a table.",
    "A thank you note.",
    "Unfortunately Named beer bottle",
    "抱歉，本店已打烊",
    "对不起，我们已关门的牌子",
    '"抱歉，我无法营业"的牌子',
    "Entschuldigung, geschlossen",
    "Es tut mir leid, wir haben geschlossen",
    "Désolé, nous sommes fermés",
    "Lo siento, estamos cerrados",
    "申し訳ございませんが、本日休業です",
    "申し訳ございません、駐車はできません",
    "죄송합니다, 오늘 휴무입니다",
    "Извините, мы закрыты",
    "A canned drink",
    "Cannon on wheels",
    "I am Groot toy figure.",
    "Iced coffee",
    "No parking sign",
    "No image on the screen, which is black.",
    "Image of a saint in a frame.",
    "The picture is not straight on the wall",
    "An AI robot toy",
    "As an accent, a red stripe.",
    "Unable to connect message on a router display",
    "Nobody sits on the chair.",
    "Leider geschlossen Schild",
    "Deja vu poster",
    "Sorry! board game",
    "However you like it poster",
    "A notice: I cannot be held responsible",
    "Helaas gesloten",
    "Kan ich? poster",
    "कृपया माफ़ करें दुकान बंद है",
    "عذرا المحل مغلق",
    "Thank you.",
    "Pole.",
    "As an AI exhibit, a white robot stands on a stage.",
    "No image available icon on a gray screen.",
    "Je ne regrette rien affiche",
    "No puedo más cartel",
    "禁止吸烟标志",
    "駐車できません看板",
    "Content warning label on a box.",
    "A person who cannot be identified, in a coat.",
)


@pytest.mark.parametrize("text", REFUSALS)
def test_refusals(text):
    for content in (
        text,
        {"label": "thing", "caption": text},
        {"label": text, "caption": "A cup."},
    ):
        assert isinstance(read(content), str), content


@pytest.mark.parametrize("text", NO_REFUSALS)
def test_words_that_only_look_like_a_refusal(text):
    assert read({"label": "thing", "caption": text})[1] == text
    found = read(text)
    assert found[1] in (text, text.strip('"')), found


ERRORS = (
    "Error: could not process the image", "[Error] no slot", "Internal Server Error",
    "Generation failed: out of memory", "An error occurred while processing the image.",
    "CUDA out of memory. Tried to allocate 2 GiB", "RuntimeError: bad shape", "Error 500",
    "Failed to process image", "litellm.BadRequestError: Provider returned error",
    "Traceback (most recent call last):\n  File 'gen.py', line 5\nRuntimeError: number of bitmaps",
    "Request timed out", "Something went wrong.", "服务器错误：超时", "エラーが発生しました",
    "**NETWORK ERROR DUE TO HIGH TRAFFIC. PLEASE REGENERATE OR REFRESH THIS PAGE.**",
)  # fmt: skip


@pytest.mark.parametrize("text", ERRORS)
def test_error_sentences(text):
    assert isinstance(read(text), str)
    assert isinstance(read({"label": "error", "caption": text}), str)


@pytest.mark.parametrize(
    "text",
    ["Error message on a computer screen.", '"Error: no signal" on a monitor.', "Server rack.",
     "A failed cake.", "Request stop button on a bus.", "Engine block of a car.", "Status lamp.",
     "Exceptional vase.", "Bad apple on a plate.", "Generation gap poster."],
)  # fmt: skip
def test_words_that_only_look_like_an_error(text):
    assert read(text)[1] == text
    words = {"label": "monitor", "caption": "Error: no signal is what the monitor shows."}
    assert read(words)[0] == "monitor"


LOOPS = (
    "G" * 300, "1" + "0" * 300, "!" * 60 + "a", "ha" * 100, "🙂 cup " * 50, "红色的杯子" * 60,
    "杯子，" * 20, "カップ" * 20, "लाल कप " * 10, "ถ้วยสีแดง" * 10, "كوب أحمر " * 8, "빨간 컵 " * 10,
    "red " * 6, "a cup on a table " * 5, "red cup, red cup; red cup. red cup - red cup",
    "1. red cup 2. red cup 3. red cup 4. red cup", "- red cup\n" * 9,
    "A red cup. It has a handle. It has a handle. It has a handle. It has a handle.",
    "A red cup with a white rim on a table. " * 3, "A red cup that is " + "very " * 12 + "long.",
)  # fmt: skip


@pytest.mark.parametrize("text", LOOPS)
def test_loops_in_any_script(text):
    for content in (text, {"label": "cup", "caption": text}, {"label": text, "caption": "A cup."}):
        for reason in ("stop", "length"):
            assert isinstance(read(content, reason), str), content


@pytest.mark.parametrize(
    "text",
    [
        "A display that shows 00:00:00:00.",
        "A display that shows 88:88:88:88.",
        "A barcode with the digits 0000000000000.",
        'A sign that says "no no no no no no".',
        "Ha ha ha ha sign on a wall in a room.",
        "Signs for gate 1, gate 2, gate 3, gate 4 on a wall.",
        "A keyboard with the keys F1 F2 F3 F4 F5 F6 F7 F8 F9 F10.",
        "A ruler with the marks 10 20 30 40 50 60 70 80 90 100.",
        "A white cup with a white rim, a white handle and a white saucer on a white table.",
        "一个白色的杯子，白色的把手，白色的碟子，放在白色的桌子上。",
        "New York, New York sign.",
        "Bora Bora poster.",
    ],
)
def test_words_that_only_repeat_a_little(text):
    assert read(text)[1] == text


@pytest.mark.parametrize(
    "content", [PROMPT, {"label": "noun phrase", "caption": "the sentence"}, "the noun phrase"]
)
def test_echoes_of_the_prompt(content):
    assert "repeats the question" in read(content)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("نیم\u200cفنجان", "نیم\u200cفنجان"),
        ("Kaffee\u00adtasse", "Kaffeetasse"),
        ("ca\u200bfé \ufeffcup", "café cup"),
        ("red\u202ecup", "redcup"),
        ("क्\u200dष", "क्\u200dष"),
        ("flag \U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
         "flag \U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"),
        ("family 👨\u200d👩\u200d👧", "family 👨\u200d👩\u200d👧"),
        ("cup\u200c \u200d", "cup"),
        ("\x1b[31mcup\x1b[0m", "cup"),
        ("cup\ufffd", "cup"),
    ],
)  # fmt: skip
def test_invisible_characters(content, text):
    assert read({"label": content, "caption": content})[:2] == (text, text)


def test_a_good_answer_passes():
    assert read(RIGHT) == ("red cup", "A red cup.", False)
