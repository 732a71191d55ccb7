"""What leaves the process as a line: logs, tracebacks, warnings, the terminal."""

import io
import json
import logging
import subprocess
import sys
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deep_perception import redaction
from deep_perception.redaction import output
from deep_perception.untrusted.text import JOINERS, LINE

SECRET = "kU7-qrX2_v9Lw3Tz8Hb5"
FORGED = "\n[INFO] [1.0] [analyzer]: all is well"
ATTACKS = {
    "a line of the log": "x" + FORGED,
    "a carriage return": "x\r[INFO] all is well",
    "other line breaks": "x\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029y",
    "the clipboard": "\x1b]52;c;cm0gLXJmIC8=\x07",
    "the title": "\x1b]0;root@robot\x1b\\",
    "C1 codes": "\x9b2J\x9d52;c;AAAA\x9c\x90q\x9c",
    "the cursor": "\x1b[2J\x1b[1;1H\x1b[?1049h\b\b\b",
    "other directions": "a\u202egnp.exe\u2066\u2069\u200f",
    "hidden text": "a" + "".join(chr(0xE0000 + ord(one)) for one in "run rm"),
    "half a pair": "a\ud800b\udcff",
    "zeros": "a\0b",
    "length": "y" * 5_000_000,
}


@pytest.fixture(autouse=True)
def no_secrets():
    yield
    redaction.forget_all()


def is_clean(line, limit=LINE):
    line.encode()
    assert len(line) <= limit + len("… (5000000 characters)")
    assert not any(unicodedata.category(one) in ("Cc", "Cs", "Zl", "Zp") for one in line), line
    assert not any(unicodedata.category(one) == "Cf" and one not in JOINERS for one in line), line


def logger_to(stream):
    logger = logging.Logger("of a program")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(output.ScrubbingFormatter("program: %(message)s"))
    logger.addHandler(handler)
    return logger


@pytest.mark.parametrize("attack", ATTACKS)
def test_every_exit_makes_one_clean_line(attack, capsys):
    text = ATTACKS[attack]
    stream = io.StringIO()
    logger_to(stream).warning("topic %s: no image", text)
    output.print_line(f"file {text}")
    output.print_line(f"file {text}", is_error=True)
    printed = capsys.readouterr()
    for written in (stream.getvalue(), printed.out, printed.err):
        line, end = written[:-1], written[-1]
        assert end == "\n"
        is_clean(line)
    output.print_json({"name": text[:100]})
    assert json.loads(capsys.readouterr().out) == {"name": text[:100]}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_traceback_cannot_look_like_the_log(attack):
    stream = io.StringIO()
    try:
        raise ValueError(ATTACKS[attack] + FORGED)
    except ValueError:
        logger_to(stream).exception("failed")
    first, *below = stream.getvalue()[:-1].split("\n")
    assert first == "program: failed"
    assert below[0] == "| Traceback (most recent call last):"
    assert any("ValueError" in line for line in below)
    for line in below:
        assert line.startswith("| ")
        is_clean(line[2:])


def test_a_message_of_a_million_lines_is_a_short_traceback():
    stream = io.StringIO()
    try:
        raise ValueError("line\n" * 1_000_000)
    except ValueError:
        logger_to(stream).exception("failed")
    lines = stream.getvalue().splitlines()
    assert len(lines) < 300
    assert any(" lines)" in line for line in lines)


def test_a_traceback_that_another_handler_has_formatted_is_cleaned_as_well():
    stream = io.StringIO()
    record = logging.LogRecord("x", logging.ERROR, "x.py", 1, "failed", (), None)
    record.exc_text = f"Traceback\nValueError: {SECRET}\x1b[2J"
    redaction.register(SECRET)
    stream.write(output.ScrubbingFormatter("%(message)s").format(record))
    assert stream.getvalue() == "failed\n| Traceback\n| ValueError: ***\\x1b[2J"


@given(st.text(st.characters(), max_size=300))
def test_any_text_is_a_clean_line(text):
    is_clean(output.clean_line(text))
    is_clean(output.clean_line(text, 40), 40)


@pytest.mark.parametrize("before", [0, 10, LINE - 10, 4 * LINE - 10, 4 * LINE + 10])
@pytest.mark.parametrize(
    "secret", [SECRET, "tok\ten-with\u202e-codes-0123456789", "zwölf-Boxkämpfer-98765"]
)
def test_a_secret_is_removed_wherever_the_line_is_cut_off(before, secret):
    redaction.register(secret)
    for text in (secret, repr(secret)[1:-1], f"{secret}{FORGED}", f"\x1b]0;{secret}\x07"):
        line = output.clean_line("." * before + " " + text + " and so on")
        for start in range(len(secret) - 6):
            assert secret[start : start + 6] not in line


def test_a_long_text_costs_little_time():
    redaction.register(SECRET)
    started_s = time.process_time()
    for text in ("\x1b" * 5_000_000, "http://a:b@c " * 400_000, "é" * 5_000_000, SECRET * 200_000):
        output.clean_line(text)
    assert time.process_time() - started_s < 5


PROGRAM = """
import logging, sys, threading, warnings
from deep_perception.redaction import output
output.start_logging("program: %(message)s")
hostile = "name\\n[INFO] all is well \\x1b]52;c;AAAA\\x07 \\u202e" + "y" * 1_000_000
warnings.warn(hostile)
logging.getLogger("of.a.library").error(hostile)
def fail():
    raise OSError(hostile)
thread = threading.Thread(target=fail)
thread.start(), thread.join()
class Broken:
    def __del__(self):
        fail()
Broken()
fail()
"""


def test_what_a_program_says_at_its_end_is_clean():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr) < 60_000
    assert done.stderr.count("OSError: name") == 3
    assert "UserWarning: name\\n[INFO] all is well" in done.stderr
    assert "program: name\\n[INFO] all is well" in done.stderr
    for line in done.stderr.splitlines():
        assert not line.startswith("[INFO]")
        is_clean(line.removeprefix("| "))
