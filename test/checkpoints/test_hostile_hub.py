"""A hub, or a mirror of it, that lies: about names, sizes, checksums, and without an end."""

import json
import os
from types import SimpleNamespace

import pytest

from deep_perception.checkpoints import listing, transfer
from deep_perception.checkpoints.catalog import DAM, ModelError
from deep_perception.checkpoints.download import _locked, _part
from deep_perception.checkpoints.record import BUSY, LOCK, draft_lock, is_safe, read_lock
from deep_perception.untrusted import UntrustedError
from support.hostile_server import HostileServer, endless
from support.hub_server import COMMIT
from support.hub_user import marked

SHA256, SHA1 = "ab" * 32, "cd" * 20
GOOD = (
    {"rfilename": "config.json", "size": 10, "blobId": SHA1},
    {"rfilename": "code.py", "size": 10, "blobId": SHA1, "lfs": None},
    {"rfilename": "llm/model.safetensors", "size": 1000, "lfs": {"sha256": SHA256}},
    {"rfilename": ".gitattributes", "size": 10, "blobId": SHA1},
)
MANY = [*GOOD, *({**GOOD[0], "rfilename": f"{number}.json"} for number in range(1000))]


def read(*siblings, **changes):
    content = {"sha": COMMIT, "siblings": [*GOOD, *siblings], **changes}
    return listing._record(DAM, "main", json.loads(json.dumps(content)))  # noqa: SLF001


def test_an_honest_listing():
    record = read()
    assert [file.name for file in record.files] == [entry["rfilename"] for entry in GOOD[:3]]
    assert record.revision == COMMIT


@pytest.mark.parametrize(
    "name",
    [
        "../evil.py", "a/../../evil.py", "/etc/cron.d/evil.py", "a//b.py", "./a.py", "a/./b.py",
        "..\\evil.py", "C:/evil.py", "C:evil.py", "a\0.py", "a\n.py", "\x1b[31m.py", "\u202ea.py",
        "con.py", "llm/NUL.json", "aux .py", " a.py", "a./b.py", "x" * 300 + ".py",
        LOCK, LOCK.upper(), f"{LOCK}/a.py", "a.part/b.py", "a.PART", ".fetching.lock", "a?.py", "",
    ],
)  # fmt: skip
def test_a_name_that_is_not_safe(name):
    assert not is_safe(name)
    if name.endswith((".py", ".json")):
        with pytest.raises(ModelError) as raised:
            read({"rfilename": name, "size": 1, "blobId": SHA1})
        assert str(raised.value).isprintable()
        assert len(str(raised.value)) < 300


@pytest.mark.parametrize(
    "name",
    ["config.json", "llm/tokenizer.model", "context_provider/a-b_c.1.json", "console.py", "Ä.py"],
)
def test_a_name_that_is_safe(name):
    assert is_safe(name)


@pytest.mark.parametrize(
    "entry",
    [
        {"size": -1}, {"size": 1.5}, {"size": "9"}, {"size": None}, {"size": True},
        {"size": 2**60}, {"size": 10**12}, {"blobId": "../x"}, {"blobId": None}, {"blobId": 7},
        {"lfs": {"sha256": "x"}}, {"lfs": {"sha256": SHA1}}, {"lfs": [SHA256]},
        {"rfilename": None}, {"rfilename": ["a"]}, {"rfilename": "CONFIG.json"},
        {"rfilename": "config.json"},
    ],
)  # fmt: skip
def test_an_entry_that_lies(entry):
    with pytest.raises((ModelError, UntrustedError)):
        read({"rfilename": "a.json", "size": 1, "blobId": SHA1} | entry)


@pytest.mark.parametrize(
    "changes",
    [
        {"sha": "main"}, {"sha": "../../x"}, {"sha": None}, {"siblings": None}, {"siblings": {}},
        {"siblings": [None]}, {"siblings": []}, {"siblings": [*GOOD, GOOD[0]]}, {"siblings": MANY},
    ],
)  # fmt: skip
def test_a_listing_that_lies(changes):
    with pytest.raises((ModelError, UntrustedError)):
        read(**changes)


@marked
@pytest.mark.parametrize(
    ("status", "longest_s", "reason"),
    [
        ("200 OK", 60.0, "larger than 8 MB"),
        ("200 OK", 0.0, "did not arrive within 0 s"),
        ("500 Internal Server Error", 60.0, "500 Server Error|Internal"),
    ],
)
def test_an_answer_without_an_end(monkeypatch, status, longest_s, reason):
    monkeypatch.setattr(listing, "LONGEST_S", longest_s)
    head = f"HTTP/1.1 {status}\r\n\r\n".encode()
    with HostileServer(lambda _: endless(b" ", head), lists=True) as server:
        url = f"http://127.0.0.1:{server.port}"
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)
        # As in `models fetch`: the library would send a request of its own.
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY", True)
        with pytest.raises(Exception, match=reason):
            listing.read_listing(DAM, "main")
    assert server.sent < 100_000_000


def response(*schemes):
    """Return what httpx remembers of a request that was redirected over these schemes."""
    *before, last = [
        SimpleNamespace(url=SimpleNamespace(scheme=one, host="evil.example"), history=[])
        for one in schemes
    ]
    last.history = before
    return last


def test_a_redirect_to_plain_http_is_refused():
    transfer.check_redirects(response("https", "https"))
    transfer.check_redirects(response("http", "http"))
    with pytest.raises(ModelError, match="redirects from https to http at evil"):
        transfer.check_redirects(response("https", "https", "http"))


# -- the folder ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\xff", b"[]", b"[" * 100_000, b"{}", b" " * 2_000_000,
        {"revision": "main"}, {"revision": 1}, {"files": {}}, {"files": []}, {"files": None},
        {"files": {"a.py": None}}, {"files": {"a.py": {"size": 1}}},
        {"files": {"a.py": {"size": 1e999, "sha256": SHA256}}},
        {"files": {"a.py": {"size": -1, "sha256": SHA256}}},
        {"files": {"a.py": {"size": 1, "sha256": "x"}}},
        {"files": {"../a.py": {"size": 1, "sha256": SHA256}}},
        {"files": {"\x1b[31m.py": {"size": 1, "sha256": SHA256}}},
    ],
)  # fmt: skip
def test_a_hostile_record(tmp_path, content):
    if isinstance(content, dict):
        good = {"checked_against": "hub", "revision": COMMIT}
        good |= {"files": {"a.py": {"size": 1, "sha256": SHA256}}}
        (tmp_path / LOCK).write_text(json.dumps(good))
        assert read_lock(tmp_path, DAM)
        content = json.dumps(good | content).encode()
    (tmp_path / LOCK).write_bytes(content)
    with pytest.raises(ValueError):
        read_lock(tmp_path, DAM)


@pytest.mark.skipif(os.name == "nt", reason="links and pipes as on Linux")
def test_nothing_is_written_through_the_links_of_others(tmp_path):
    mine = tmp_path / "mine"
    mine.write_text("mine")
    folder = tmp_path / "model"
    folder.mkdir()
    record = read()
    (file, *_) = record.files
    expected = _part(folder, file)
    for plant in (
        lambda: expected.symlink_to(mine),
        lambda: expected.hardlink_to(mine),
        lambda: os.mkfifo(expected),
    ):
        plant()
        assert not _part(folder, file).exists()
    for plant in (expected.with_name(BUSY).symlink_to, expected.with_name(BUSY).hardlink_to):
        plant(mine)
        with _locked(folder):
            assert mine.read_text() == "mine"
        folder.mkdir(exist_ok=True)  # An empty one is removed.
    (folder / f"{LOCK}.part").symlink_to(mine)
    draft_lock(folder, DAM, record).replace(folder / LOCK)
    assert mine.read_text() == "mine"
    (folder / "llm").symlink_to(tmp_path)
    with pytest.raises(ModelError, match="is a link"):
        _part(folder, record.files[2])
    # The folder of the model may be a link to a larger disk.
    (tmp_path / "link").symlink_to(folder)
    (folder / "llm").unlink()
    assert _part(tmp_path / "link", record.files[2]).parent.is_dir()
