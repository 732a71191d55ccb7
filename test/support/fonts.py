"""Fonts for the tests: a copy of the shipped one with letters of another script."""

import struct

from deep_perception.drawing import fonts, text


def forget_fonts():
    """Make the package look for fonts again, and warn again."""
    for module in (fonts, text):
        for each in vars(module).values():
            if hasattr(each, "cache_clear"):
                each.cache_clear()
    text.reported.clear()


def with_letters(first_code, count=400):
    """Return a font file whose letters from a code point on look like Latin ones.

    The copy of DejaVu Sans has another table `cmap`, in format 12, at its end.
    """
    data = bytearray(fonts.SHIPPED.read_bytes())
    # The glyphs of DejaVu Sans from 200 on are accented Latin letters, none of them empty.
    groups = struct.pack(">III", first_code, first_code + count - 1, 200)
    subtable = struct.pack(">HHIII", 12, 0, 16 + len(groups), 0, 1) + groups
    cmap = struct.pack(">HHHHI", 0, 1, 3, 10, 12) + subtable
    for entry in range(12, 12 + 16 * struct.unpack_from(">H", data, 4)[0], 16):
        if data[entry : entry + 4] == b"cmap":
            struct.pack_into(">II", data, entry + 8, len(data), len(cmap))
    return bytes(data) + cmap
