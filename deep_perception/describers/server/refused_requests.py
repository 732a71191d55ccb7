"""What a server refuses in a request, by the words of its refusal."""

from __future__ import annotations

import re

IMAGE = (
    r"(?:images?|image[_ ]?(?:url|input)s?|pictures?|photos?|vision|visual|vlms?|mm?proj|"
    r"multi-?\s?modal(?:ity|ities)?)"
)
NOT = r"(?:\bnot|n['’]t|\bno|\bnever|\bcannot|\bunable to|\bwithout|\black(?:s|ing)?)\b"
ABLE = (
    r"(?:support\w*|accept\w*|allow\w*|enabl\w*|handl\w*|process\w*|understand\w*|see|take\w*|"
    r"capab\w*|trained|configured|compiled|implement\w*|permit\w*|available|loaded|"
    r"possible|an?)"
)
# A model or a server that takes no images.
NO_IMAGES = re.compile(
    rf"{NOT} (?:\w+ ){{0,2}}?{ABLE} (?:\w+ ){{0,4}}?['\"`‘]?{IMAGE}\b|"
    rf"\b{IMAGE}\b(?:[^.;]{{0,60}}?\W)??(?:(?:is|are|was|were|do|does|support)\b[^.;]{{0,20}}?)?"
    rf"(?:{NOT} (?:\w+ ){{0,2}}?{ABLE}|unsupported|disabled|unavailable)|"
    rf"(?:unsupported|non|un)[ -](?:\w+ )??{IMAGE}\b|"
    rf"{NOT} an? (?:\w+[ -]){{0,2}}{IMAGE}|missing data required for image|"
    rf"(?:{NOT} have|lacks?) (?:an? )?{IMAGE}|\bno {IMAGE} (?:support|capabilit)|"
    r"image_url is only supported by|no endpoints? found that support image|"
    r"(?:no|can['’]?t|could not|cannot) (?:\w+ ){0,3}?(?:multimodal )?(?:projector|mmproj)|"
    r"projector can['’]t|"
    rf"{NOT} contain (?:\w+ )??{IMAGE}\b|\bno {IMAGE} processor|"
    rf"(?:unsupported (?:media type|modality|modalities)|lacks? [^.]{{0,20}}capabilit\w+|requires)"
    rf"\W+{IMAGE}\b|"
    rf"{NOT} (?:\w+ )?include\W+{IMAGE}\b|modality\W+{IMAGE}\W+(?:is )?not\b|"
    r"text[- ]only|(?:only|solely) (?:supports?|accepts?|takes?|handles?|"
    r"processe?s?) (?:\w+ )?text|"
    r"text (?:inputs? )?(?:is |are )?only\b|language[- ]only",
    re.IGNORECASE,
)  # fmt: skip
IN_OTHER_LANGUAGES = re.compile(
    r"不支持.{0,12}(?:图|圖|视觉|視覺|多模态|多模態)|(?:图|圖|视觉|多模态).{0,12}?(?:不支持|"
    r"不被支持|不可用)|(?:未|没有|沒有|不能|无法|無法)(?:开启|開啟|启用|处理|處理|具备|理解).{0,6}"
    r"(?:图|圖|视觉|視覺|多模态|多模態)|纯文本模型|純文本模型|"
    r"不是(?:一个|一個)?(?:视觉|視覺|多模态|多模態)|(?:仅|僅|只)支持(?:纯|純)?文|"
    r"不支援.{0,12}(?:圖|視覺|多模態)|"
    r"画像.{0,12}(?:対応|サポート|利用)(?:して|され|でき)(?:て)?(?:い)?ませ?ん|"
    r"이미지.{0,14}(?:지원(?:하지|"
    r"되지)|사용할 수 없)|"
    r"(?:unterstützt|akzeptiert) keine (?:bild|grafik)|bild\w* (?:werden|"
    r"wird)\b.{0,40} nicht unterstützt|"
    r"(?:ne prend pas en charge|ne supporte pas|n['’]accepte pas)\w* (?:les |"
    r"d['’])?(?:entrées? )?(?:d['’])?images?|"
    r"no (?:admite|soporta|acepta) (?:entrada de )?im[áa]gen|não (?:suporta|"
    r"aceita) (?:entrada de )?image|"
    r"non (?:supporta|accetta) (?:le )?immagini|не поддерживает (?:ввод )?изображени|"
    r"изображени\w+ не поддержива",
    re.IGNORECASE,
)
# A server that reads the content of a message as a text, and one that allows no image at all.
ONLY_TEXT_CONTENT = re.compile(
    r"untagged enum \w*content|str(?:ing)? type expected|expected string,? (?:but )?(?:received|"
    r"got) "
    r"(?:an )?array|expected str\w*(?: or bytes-like object)?(?: instance)?, (?:got )?\W*list|"
    r"\blist\b\W+object cannot be converted to|content type: \[\]interface|"
    r"(?:deserialize|convert).{0,60}string\b.{0,60}(?:array|\bcontent)|"
    r"\bcontent(?:\[\d\])? is not (?:a |of type )?string|tried to use \+ operator|"
    r"does not match any of the expected tags|(?:不支持|不支援).{0,12}image_url|"
    r"content\S{0,8} ?参数非法|unsupported content part|"
    r"image\W{1,3}0\b.{0,40}limit-mm-per-prompt|"
    r"unknown variant\W+image_url|unsupported (?:message )?(?:content|"
    r"message)[ -]?(?:part)?[ -]?types?|"
    r"not one of \[['\"]text['\"]\]|"
    r"(?:unsupported|invalid|unknown|unexpected) (?:content )?(?:part |block )?type\W{1,4}image|"
    r"content type\W+['\"`]?image_url\W+(?:is )?not|only ['\"`]?text['\"`]? (?:content|parts?|"
    r"messages?|types?)|"
    r"(?:input )?should be ['\"`]text['\"`]|expected ['\"`]?text['\"`]?\b.{0,20}(?:image_url|"
    r"at line|$)|"
    r"content\b.{0,40}?(?:must|should|has to|needs to|expected to) be (?:of type |a |"
    r"an? )?(?:valid )?(?:string|str|text)\b|"
    r"(?:valid|expected (?:a )?|must be a )\s?string\b.{0,40}\bcontent|"
    r"(?:cannot unmarshal|invalid type: sequence|got array|type list).{0,80}(?:\bcontent|string)|"
    r"can only concatenate str \(not \W*list|(?:unhashable|unsupported operand) type.{0,20}\blist|"
    r"list\W+object has no attribute\W+(?:strip|startswith|replace|split|lower|encode)|"
    r"(?:at most|allows?|accepts?|limit(?: is| of)?|maximum(?: is| of)?|max) (?:only )?(?:0|"
    r"zero) image|\b0 images? (?:are |is )?"
    r"(?:allowed|supported|permitted)",
    re.IGNORECASE | re.DOTALL,
)
# About this image, or about several in one request: a smaller or another one is accepted.
ONE_IMAGE = re.compile(
    r"\bformats?\b|\bsizes?\b|too (?:large|small|big|long|many)|exceed|maximum|larger|smaller|"
    r"\bsmall\b|safety|polic(?:y|ies)|violat|\btokens\b|\bmime\b|webp|\bpng\b|jpe?g|\bgif\b|"
    r"base64|dimension|pixel|"
    r"resolution|corrupt|decod|download|fetch|this image\b|could not (?:process|read|load|open|"
    r"handle)|channels|(?:\b|no )valid (?:image|picture)|(?:at most|"
    r"up to|max(?:imum)? of) [1-9]|"
    r"(?:multiple|several) (?:images|pictures)|more than|only (?:one|1|a single)\b|per (?:prompt|"
    r"request|message|turn)|"
    r"(?:structured|json|schema|grammar|response_format|tool|stream)",
    re.IGNORECASE,
)
CONTEXT = re.compile(
    r"context[ _](?:length|size|window|limit)|maximum context|too many (?:input )?tokens|"
    r"prompt is too long|input is too long",
    re.IGNORECASE,
)
# The characters of an error that are read; the messages of this package have fewer.
LONGEST = 2000


def takes_no_images(text: str) -> bool:
    """Return whether an error says that the model, or the server, takes no images at all."""
    text = text[:LONGEST]
    if ONLY_TEXT_CONTENT.search(text):
        return True
    text = (
        text.replace("_", " ")
        if re.search(
            r"[A-Z]_[A-Z]|not_support|"
            r"unsupported_",
            text,
        )
        else text
    )
    if is_about_one_image(text):
        return False
    return bool(NO_IMAGES.search(text) or IN_OTHER_LANGUAGES.search(text))


def is_about_one_image(text: str) -> bool:
    """Return whether an error says that another image would be accepted."""
    return bool(ONE_IMAGE.search(text))


def may_be_due_to_image(text: str) -> bool:
    """Return whether an error may be about the image that was sent, or its content."""
    return bool(is_about_one_image(text) or re.search(rf"\b{IMAGE}\b", text, re.IGNORECASE))


def is_about_context(text: str) -> bool:
    """Return whether an error says that a request has more tokens than the model can take."""
    return bool(CONTEXT.search(text))


def allowed_tokens(text: str) -> int | None:
    """Return how many tokens an answer may have, by the words of a refusal; None if unknown."""
    numbers = {
        name: int(match[match.lastindex or 1].replace(",", ""))
        for name, pattern in (
            ("answer", r"(?:at most|maximum(?: value)?(?: of| is|:)?|must be (?:<=|"
                       r"less than or equal to)|limit(?: of| is|:)|between \d+ and|\d >|"
                       r"up to|range[^\d\[]{0,20}\[\d+,)\s*"
                       r"(\d[\d,]*)(?: (?:completion|output|new) tokens|\b)"),
            ("context", r"(?:context (?:length|window|size)\D{0,20}|"
                        r"tokens\W+max_new_tokens\W+must be <=\s*)(\d[\d,]*)"),
            ("prompt", r"(\d[\d,]*)(?= `inputs` tokens)|(\d[\d,]*)(?: tokens?)? (?:(?:in|from|"
                       r"for) (?:the |your )?(?:messages?|"
                       r"prompt|input)|"
                       r"input tokens|prompt tokens)|(?:prompt|input) (?:contains|has|"
                       r"of)\D{0,12}(\d[\d,]*)"),
        )
        if (match := re.search(pattern, text, re.IGNORECASE)) and match[match.lastindex or 1]
    }  # fmt: skip
    if "context" in numbers:
        return numbers["context"] - numbers["prompt"] - 8 if "prompt" in numbers else None
    return numbers.get("answer")
