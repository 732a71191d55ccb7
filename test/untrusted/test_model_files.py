"""Headers of model files, which lie about what follows."""

import json
import os
import pickle
import struct
import zipfile

import pytest

from deep_perception.untrusted import UntrustedError
from deep_perception.untrusted.model_files import MAX_HEADER, check_safetensors, check_torch

TENSOR = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}


def safetensors(header, data=b"\0" * 24, length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def test_a_file_of_two_tensors_is_accepted(tmp_path):
    path = tmp_path / "model.safetensors"
    header = {
        "__metadata__": {"format": "pt"},
        "b": {"dtype": "BF16", "shape": [], "data_offsets": [24, 26]},
        "a": TENSOR,
        "none": {"dtype": "I64", "shape": [0, 9], "data_offsets": [26, 26]},
    }
    path.write_bytes(safetensors(header, b"\0" * 26))
    assert check_safetensors(path) == 7


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "header has 0 bytes"),
        (b"\xff" * 8, "header has 18446744073709551615 bytes"),
        (safetensors({"a": TENSOR}, length=2**63), "header has"),
        (safetensors({"a": TENSOR}, length=MAX_HEADER + 1), "header has"),
        (safetensors(b"[" * 10_000), "JSON|within each other"),
        (safetensors(b"[]"), "no object"),
        (safetensors({"a": TENSOR}, b"\0" * 23), "tensors have 24 bytes and the file 23"),
        (safetensors({"a": TENSOR}, b"\0" * 25), "tensors have 24 bytes and the file 25"),
        (safetensors({"a": TENSOR, "b": TENSOR}), "overlap"),
        (safetensors({"a": TENSOR | {"data_offsets": [8, 32]}}, b"\0" * 32), "gaps"),
        (safetensors({"a": TENSOR | {"shape": [2**31, 2**31]}}), "24 bytes"),
        (safetensors({"a": TENSOR | {"shape": [2**60]}}), "too large"),
        (safetensors({"a": TENSOR | {"shape": [-2, -3]}}), "too large"),
        (safetensors({"a": TENSOR | {"shape": [2.0, 3]}}), "whole number"),
        (safetensors({"a": TENSOR | {"shape": "23"}}), "whole number"),
        (safetensors({"a": TENSOR | {"shape": [True] * 6}}), "whole number"),
        (safetensors({"a": TENSOR | {"shape": [1] * 99 + [6]}}), "24 bytes"),
        (safetensors({"a": TENSOR | {"dtype": "PICKLE"}}), "unknown way"),
        (safetensors({"a": TENSOR | {"dtype": ["F32"]}}), "unknown way"),
        (safetensors({"a": TENSOR | {"data_offsets": [24, 0]}}), "-24 bytes"),
        (safetensors({"a": TENSOR | {"data_offsets": None}}), "unknown way"),
        (safetensors({"a": None}), "unknown way"),
    ],
)
def test_a_header_that_lies_is_refused(tmp_path, data, word):
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    with pytest.raises(UntrustedError, match=word):
        check_safetensors(path)


@pytest.mark.skipif(os.name == "nt", reason="pipes as on Linux")
def test_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for check in (check_safetensors, check_torch):
        with pytest.raises(UntrustedError, match="no regular file"):
            check(tmp_path / "pipe")


def archive(path, names=("a/data.pkl", "a/data/0"), data=b"\0" * 1000, **how):
    with zipfile.ZipFile(path, "w", **how) as file:
        for name in names:
            file.writestr(name, data)


def test_an_archive_of_torch(tmp_path):
    path = tmp_path / "a.pt"
    archive(path)
    check_torch(path)
    for make, word in (
        (lambda: path.write_bytes(pickle.dumps([1])), "no file of torch.save"),
        (lambda: path.write_bytes(b""), "no file of torch.save"),
        (lambda: archive(path, compression=zipfile.ZIP_DEFLATED), "compressed"),
        (lambda: archive(path, data=b"\0" * (17 << 20)), "pickle of more than"),
        (lambda: lie(path), "more bytes"),
    ):
        make()
        with pytest.raises(UntrustedError, match=word):
            check_torch(path)


def lie(path):
    """Write an archive whose table says that an entry has 4 GB."""
    archive(path)
    data = path.read_bytes()
    sizes = struct.pack("<II", 1000, 1000)
    path.write_bytes(data.replace(sizes, struct.pack("<II", 2**32 - 2, 2**32 - 2)))
