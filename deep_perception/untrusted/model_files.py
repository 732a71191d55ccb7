"""The headers of model files, which are checked before a library reads the file.

Both formats say in a header how large everything is, and their readers believe much of it.
"""

from __future__ import annotations

import math
import os
import struct
import zipfile
from pathlib import Path

from deep_perception.untrusted import UntrustedError
from deep_perception.untrusted.bounded import open_regular
from deep_perception.untrusted.json_reader import read_json

# Bytes of the header of a safetensors file. That of DAM-3B's language model has 30 kB.
MAX_HEADER = 8 << 20
# Bytes of the pickle in a file of torch, which has no numbers of the weights. Meta's have 100 kB.
MAX_PICKLE = 16 << 20
MAX_ENTRIES = 100_000
_BITS = {
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8,
    "F8_E8M0": 8, "F8_E5M2FNUZ": 8, "F8_E4M3FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32, "C64": 64, "F64": 64, "I64": 64, "U64": 64,
}  # fmt: skip


def check_safetensors(path: Path) -> int:
    """Return the number of weights in a safetensors file, of which only the header is read.

    Raises UntrustedError if the header is too long, or if its tensors are not the bytes of the
    file; and OSError.
    """
    with open_regular(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        start = stream.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= min(MAX_HEADER, size - 8):
            raise UntrustedError(
                f"its header has {length} bytes in a file of {size}; at most {MAX_HEADER} are read"
            )
        header = read_json(stream.read(length), limit=MAX_HEADER)
    if not isinstance(header, dict):
        raise UntrustedError("its header is no object")
    header.pop("__metadata__", None)
    weights, end = 0, 0
    for entry in sorted(header.values(), key=_begin):
        count, begin, end_of_this = _tensor(entry)
        if begin != end:
            raise UntrustedError("its tensors overlap, or have gaps between them")
        weights, end = weights + count, end_of_this
    if end != size - 8 - length:
        raise UntrustedError(f"its tensors have {end} bytes and the file {size - 8 - length}")
    return weights


def check_torch(path: Path) -> None:
    """Check the table of a file that ``torch.save`` wrote, without reading its content.

    It is a zip archive without compression. Raises UntrustedError for anything else, because
    compressed entries have no limit and older formats are pickles only; and OSError.
    """
    with open_regular(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        try:
            entries = zipfile.ZipFile(stream).infolist()
        except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error) as error:
            raise UntrustedError(
                "is no file of torch.save in its format since torch 1.6, and may have more than "
                f"weights only ({error})"
            ) from None
    if len(entries) > MAX_ENTRIES:
        raise UntrustedError(f"has {len(entries)} entries; at most {MAX_ENTRIES} are read")
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise UntrustedError("has compressed entries, which torch.save does not write")
    if sum(entry.file_size for entry in entries) > size:
        raise UntrustedError(f"has entries of more bytes than its {size}")
    if any(entry.filename.endswith(".pkl") and entry.file_size > MAX_PICKLE for entry in entries):
        raise UntrustedError(f"has a pickle of more than {MAX_PICKLE} bytes")


def _begin(entry: object) -> int:
    return _tensor(entry)[1]


def _tensor(entry: object) -> tuple[int, int, int]:
    """Return the number of weights of a tensor, and where its bytes begin and end."""
    try:
        bits, shape = _BITS[entry["dtype"]], entry["shape"]  # type: ignore[index]
        begin, end = entry["data_offsets"]  # type: ignore[index]
    except (TypeError, KeyError, ValueError):
        raise UntrustedError("its header describes a tensor in an unknown way") from None
    numbers = [*shape, begin, end] if isinstance(shape, list) else [-1]
    if any(type(number) is not int or not 0 <= number < 2**48 for number in numbers):
        raise UntrustedError("its header has a size that is no whole number, or too large")
    if len(shape) > 16 or math.prod(shape) * bits != (end - begin) * 8:
        raise UntrustedError(f"its header has a tensor {shape[:16]} of {end - begin} bytes")
    return math.prod(shape), begin, end
