"""No form of a secret remains in a scrubbed text, and words that only look alike do."""

import base64
import html
import io
import json
import logging
import re
import time
import traceback
from urllib.parse import quote, quote_plus, unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deep_perception import redaction
from deep_perception.redaction import output
from deep_perception.redaction.addresses import AddressError, parse_address
from deep_perception.redaction.tokens import TokenError, read_token
from deep_perception.settings.options import settings_from

# Texts as an exception, a log, a page or a file of JSON would contain them.
FORMS = {
    "plain": lambda text: text,
    "repr": repr,
    "repr of repr": lambda text: repr(repr(text)),
    "repr of bytes": lambda text: repr(f"Bearer {text}".encode("utf-8", "surrogatepass")),
    "ascii": ascii,
    "json": json.dumps,
    "json, not escaped": lambda text: json.dumps(text, ensure_ascii=False),
    "json in json": lambda text: json.dumps(json.dumps({"key": text})),
    "json of repr": lambda text: json.dumps(repr(text)),
    "percent": lambda text: quote(text.encode("utf-8", "surrogatepass"), safe=""),
    "percent, lower case": lambda text: re.sub(
        "%..", lambda match: match[0].lower(), quote(text.encode("utf-8", "surrogatepass"))
    ),
    "percent twice": lambda text: quote(quote(text.encode("utf-8", "surrogatepass"))),
    "form": lambda text: quote_plus(text.encode("utf-8", "surrogatepass")),
    "html": html.escape,
    "html of json": lambda text: html.escape(json.dumps(text)),
    "xml": lambda text: text.encode("ascii", "xmlcharrefreplace").decode(),
    "backslashreplace": lambda text: text.encode("ascii", "backslashreplace").decode(),
    "latin-1": lambda text: text.encode("utf-8", "surrogatepass").decode("latin-1"),
    "replaced": lambda text: text.encode("ascii", "replace").decode(),
    "unicode_escape": lambda text: text.encode("unicode_escape").decode(),
    "base64": lambda text: base64.b64encode(text.encode("utf-8", "surrogatepass")).decode(),
    "base64, URL": lambda text: base64.urlsafe_b64encode(
        text.encode("utf-8", "surrogatepass")
    ).decode(),
    "hex": lambda text: text.encode("utf-8", "surrogatepass").hex(),
    "other case": lambda text: re.sub("[a-z]", lambda match: match[0].upper(), text),
    "percent for every byte": lambda text: "".join(
        f"%{byte:02X}" for byte in text.encode("utf-8", "surrogatepass")
    ),
    "every character of HTML": lambda text: "".join(f"&#{ord(char)};" for char in text),
    "within base64": lambda text: base64.b64encode(
        f"robot:{text}@".encode("utf-8", "surrogatepass")
    ).decode(),
    "base32": lambda text: base64.b32encode(text.encode("utf-8", "surrogatepass")).decode(),
    "one line": lambda text: " ".join("".join(c if c.isprintable() else " " for c in text).split()),
    "shortened": lambda text: f"{text.strip()[:6]}...{text.strip()[-4:]}",
    "masked": lambda text: f"{text.strip()[:6]}{'*' * 12}{text.strip()[-4:]}",
    "cut": lambda text: f"{text.strip()[:-1]}…",
}
# Any characters, with a core that can be searched for.
CORE = "q7Zx9Kw2vB"
SECRETS = st.builds(
    lambda begin, middle, end: f"{begin}{CORE[:5]}{middle}{CORE[5:]}{end}",
    st.text(max_size=6), st.text(max_size=4), st.text(max_size=6),
)  # fmt: skip
TEXTS = st.text(max_size=30)


@given(SECRETS, st.sampled_from(sorted(FORMS)), TEXTS, TEXTS)
@example("tok q7Zx9Kw2vB\r", "repr", "Illegal header value b'Bearer ", "'")
@example("q7Zx9\ud8ff\udcff Kw2vB", "percent", "", "")
@example("\\\\q7Zx9\\Kw2vB\\", "json in json", "", "")
@example("q7Zx9\U0001f600Kw2vB", "json", "", "")
@example("q7Zx9Kw2vB", "within base64", "", "")
def test_no_form_of_a_secret_is_left(secret, form, before, after):
    redaction.forget_all()
    redaction.register(secret)
    try:
        shown = FORMS[form](secret)
    except UnicodeError:
        return
    scrubbed = redaction.scrub(f"{before} {shown} {after}")
    assert shown not in scrubbed or not shown.strip()
    for part in (CORE[:5], CORE[5:]):
        assert part not in scrubbed.replace(before, "").replace(after, "")
    if form not in ("shortened", "masked", "cut"):
        whole = redaction.scrub_content({"a": [shown], shown: 1})
        assert CORE[:5] not in json.dumps(whole) and CORE[5:] not in json.dumps(whole)


@given(st.text(min_size=1, max_size=12), TEXTS)
def test_scrubbing_any_text_ends_and_keeps_what_is_no_secret(secret, text):
    redaction.forget_all()
    assert redaction.scrub_content([text]) == [text]
    redaction.register(secret)
    redaction.scrub(text)
    redaction.scrub(text * 40 + "?" * 500 + "\\" * 500 + "%41" * 200)


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("GET http://robot:pw@h:1/v1 failed", "GET http://***@h:1/v1 failed"),
        ("socks5://me:p@ss@h:1080", "socks5://***@h:1080"),
        ("'http://robot:p/w#d@h/v1'", "'http://***@h/v1'"),
        (r"http:\/\/robot:pw@h\/v1", r"http:\/\/***@h\/v1"),
        ("http://h/v1?api_key=abc&x=1#f", "http://h/v1?api_key=***&x=1#f"),
        ("?ACCESS_TOKEN=abc and key='abc'", "?ACCESS_TOKEN=*** and key='***'"),
        ("{'Authorization': 'Bearer sk-12345678'}", "{'Authorization': 'Bearer ***'}"),
        ("authorization: basic cm9ib3Q6cHc=", "authorization: basic ***"),
    ],
)
def test_what_looks_like_a_secret_is_removed(text, scrubbed):
    assert redaction.scrub(text) == scrubbed


@pytest.mark.parametrize(
    "text",
    [
        "https://medium.com/@user/page", "http://h:1234/v1/@cf/model", "mail robot@example.org",
        "git@example.org:a/b.git", "a monkey=3 keys", "max_tokens=400", "Basic authentication",
        "a bearer of tokens", "a red cup... and more", "**bold** words",
        "no connection (All connection attempts failed)", "key: value", "640x480 100%",
    ],
)  # fmt: skip
def test_what_only_looks_alike_is_kept(text):
    redaction.register("redcup123456")
    assert redaction.scrub(text) == text


def test_a_short_secret_is_removed_as_a_word_of_a_message_and_kept_in_a_description():
    redaction.register("cup")
    assert redaction.scrub("wrong key cup, b'cup\\r' %3Acup") == "wrong key ***, b'***\\r' %3A***"
    assert redaction.scrub("a cupboard") == "a cupboard"
    assert redaction.scrub_content({"label": "red cup"}) == {"label": "red cup"}


# -- tokens --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("s3cret-token\r", "a carriage return at its end"),
        ("s3cret-token\n", "a line feed at its end"),
        ("s3cret-token\r\n", "a carriage return at its end"),
        (" s3cret-token", "a space at its begin"),
        ("s3cret-token\t", "a tab at its end"),
        ("s3cret-token\xa0", "a no-break space at its end"),
        ("\ufeffs3cret-token", "a byte order mark"),
        ("s3cret\u200b-token", "a zero-width space"),
        ("s3cret\x00-token", "a control character"),
        ("s3cret\n-token", "a line feed"),
        ("“s3cret-token”", "a character that is not ASCII"),
        ("s3crét-token", "a character that is not ASCII"),
        ("s3cret-密-token", "a character that is not ASCII"),
        ("s3cret-\udcff-token", "a character that is not ASCII"),
    ],
)
def test_a_token_that_no_header_can_carry_is_named_without_its_text(value, problem, monkeypatch):
    monkeypatch.setattr("os.environ", {"MY_TOKEN": value})
    with pytest.raises(TokenError) as caught:
        read_token("MY_TOKEN", "describer.api_key_env")
    message = str(caught.value)
    assert "the token in MY_TOKEN has characters that a header cannot carry" in message
    assert problem in message
    assert "s3cr" not in message


@pytest.mark.parametrize(
    "value", ["s3cret", "my key", "a=b/c+d~e", "'quoted'", "EMPTY", "lm-studio"]
)
def test_a_token_that_a_header_can_carry_is_used_as_it_is(value, monkeypatch):
    monkeypatch.setenv("MY_TOKEN", value)
    assert read_token("MY_TOKEN", "") == value
    monkeypatch.setenv("MY_TOKEN", f"Bearer {value}")
    assert read_token("MY_TOKEN", "") == value


def test_a_token_in_place_of_the_name_of_its_variable_is_not_shown():
    with pytest.raises(TokenError, match="is no name of an environment variable") as caught:
        read_token("sk-s3cret-token", "describer.api_key_env")
    assert "s3cret" not in str(caught.value)
    assert redaction.scrub("sk-s3cret-token") == "***"


# -- addresses -----------------------------------------------------------------------------------


@given(st.text(min_size=1, max_size=12), st.text(max_size=12))
def test_name_and_password_of_any_address_are_used_and_never_shown(user, password):
    redaction.forget_all()
    text = f"http://{quote(user, safe='')}:{quote(password, safe='')}@host:81/a/v1?api_key=x%20y"
    if any("\ud800" <= one <= "\udfff" for one in user + password):
        return
    address = parse_address(text, "describer.url")
    assert (address.user, address.password) == (user, password)
    assert address.origin == "http://host:81" and address.path == "/a/v1"
    assert address.query == (("api_key", "x y"),)
    assert "api_key" not in repr(address) and repr(user) not in repr(address).split("path")[1]


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=12))
def test_an_address_that_cannot_be_read_is_named_without_its_password(middle):
    redaction.forget_all()
    text = f"http://robot:{CORE}{middle}{CORE}@host/v1"
    try:
        address = parse_address(text, "describer.url")
    except AddressError as error:
        assert CORE not in str(error)
        assert "describer.url" in str(error)
    else:
        assert address.host == "host"
        assert address.password == unquote(f"{CORE}{middle}{CORE}")
    assert CORE not in repr(settings_from({"describer.url": text, "describer.dam.url": text}))
    assert CORE not in redaction.scrub(f"no connection to {text!r}")


def test_the_query_of_an_address_holds_secrets_and_other_words():
    text = "http://h/v1?v=1&stream=false&api-version=2024-10-21&sig=a%2Fb&k=abcdefgh"
    parse_address(text, "describer.url")
    shown = "1 of 3, false, 2024-10-21, a/b, a%2Fb, abcdefgh"
    assert redaction.scrub(shown) == "1 of 3, false, 2024-10-21, ***, ***, ***"


# -- logs ----------------------------------------------------------------------------------------


def test_logs_and_tracebacks_have_no_secrets(capsys):
    redaction.register(CORE)
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(output.ScrubbingFormatter("%(message)s"))
    logger = logging.Logger("of a program")
    logger.addHandler(handler)
    try:
        raise ValueError(f"Illegal header value b'Bearer {CORE}\\r'")
    except ValueError as error:
        logger.exception("%s failed", f"GET http://u:{CORE}@h/v1?api_key={CORE}")
        assert CORE in "".join(traceback.format_exception(error))
    assert "Illegal header value b'Bearer ***\\r'" in stream.getvalue()
    assert CORE not in stream.getvalue()


def test_what_a_library_logs_has_no_secrets_for_any_handler():
    redaction.register(CORE)
    logger = logging.getLogger("a.library")
    records = []
    handler = logging.Handler()
    handler.emit = records.append
    output.guard_loggers(["a.library"])
    logger.addHandler(handler)
    try:
        logger.error("HTTP Request: %s %s", "GET", f"http://h/v1?api_key={CORE}")
    finally:
        logger.removeHandler(handler)
    assert [record.getMessage() for record in records] == [
        "HTTP Request: GET http://h/v1?api_key=***"
    ]


def test_each_of_many_texts_is_scrubbed_for_itself():
    redaction.register("sk-0123456789abcdef")
    content = {"a\0": ["sk-01234567", "89abcdef", "sk-0123456789abcdef\0x", 5, None], "b": {}}
    clean = {"a\0": ["sk-01234567", "89abcdef", "***\0x", 5, None], "b": {}}
    assert redaction.scrub_content(content) == clean
    assert redaction.scrub_content(("sk-0123456789abcdef", "x")) == ["***", "x"]


@pytest.mark.parametrize(
    "unit", ["0123456789ab ", "sk-0123456789a", "p...", "def...", "sk-**", "%73%6b", "a", "\\"]
)
def test_no_text_makes_the_search_slow(unit):
    redaction.register("sk-0123456789abcdefghijklmnop")
    started_s = time.process_time()
    redaction.scrub_content([unit * (300_000 // len(unit)), *[unit] * 30_000])
    assert time.process_time() - started_s < 3
