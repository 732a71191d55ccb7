"""`deep_perception models` with DAM: its names, and the licence to accept."""

import os
import pty
import subprocess

import pytest

from deep_perception.checkpoints.catalog import DAM, find_model
from support.dam_hub_user import NAME, WANTED, Somebody
from support.hub_user import command, environment, marked


@pytest.mark.parametrize("text", ["dam", NAME, f"nvidia/{NAME}"])
def test_names(text):
    assert find_model(text) is DAM


def test_the_list_shows_the_licence_of_an_absent_model(tmp_path):
    rows = Somebody("http://127.0.0.1:1", tmp_path).run("list").out.splitlines()
    row = next(row for row in rows if row.startswith(NAME))
    assert row.split()[1:] == (
        f"about 7.1 GB absent NVIDIA non-commercial checkpoints/{NAME}".split()
    )


def test_without_acceptance_and_without_a_terminal_no_request_is_sent(hub, user):
    done = user.run("fetch", "dam")
    assert done.returncode == 2
    *licence, line = done.err.splitlines()
    assert 3 <= len(licence) <= 4
    assert "never commercially" in done.err
    assert licence[-1] == f"https://huggingface.co/nvidia/{NAME}/blob/main/LICENSE"
    assert line == (
        f"deep_perception: {NAME}: there is no terminal to ask for confirmation; add "
        "--accept-licence if you accept its licence"
    )
    assert hub.requests == []
    assert not user.folder.exists()


def on_a_terminal(user, answer):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command("fetch", "dam", catalogue=False),
        cwd=user.home,
        env=environment(user.url, user.home),
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.write(ours, answer)
    out, err = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    return process.returncode, out, err


@pytest.mark.slow
@pytest.mark.parametrize("answer", [b"n\n", b"\n", b"\x04"])
def test_a_licence_that_is_not_accepted(hub, user, answer):
    status, out, err = on_a_terminal(user, answer)
    assert (status, out) == (2, "")
    assert err.index("NVIDIA Noncommercial License") < err.index("accept this licence? [y/N]")
    assert err.endswith(f"{NAME}: its licence was not accepted, nothing was downloaded\n")
    assert hub.requests == []


@marked
def test_an_accepted_licence_is_not_shown_again(user):
    status, _, err = on_a_terminal(user, b"y\n")
    assert status == 0, err
    assert user.files() == WANTED
    done = user.run("fetch", "dam")
    assert (done.returncode, done.err) == (0, "")
