"""Images that cost a decoder far more than their size, or show each reader another size."""

import functools
import struct
import zlib

import cv2
import numpy as np

PNG = b"\x89PNG\r\n\x1a\n"
END = b"\xff\xd9"
NOISE = np.random.default_rng(5).integers(0, 256, (64, 64, 3), np.uint8)
# Of one colour: a block takes a few bits.
FLAT = np.full((64, 64, 3), 90, np.uint8)


def encoded(extension, pixels, *parameters):
    done, data = cv2.imencode(extension, pixels, list(parameters))
    assert done
    return data.tobytes()


@functools.cache
def packed_megabyte():
    """A megabyte of zeros as deflated blocks, which can be repeated."""
    pack = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return pack.compress(bytes(1 << 20)) + pack.flush(zlib.Z_FULL_FLUSH)


def zeros(count):
    """The zlib stream of so many zeros."""
    megabytes, rest = divmod(count, 1 << 20)
    pack = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    end = pack.compress(bytes(rest)) + pack.flush()
    checksum = struct.pack(">I", (count % 65521 << 16) + 1)
    return b"\x78\xda" + packed_megabyte() * megabytes + end + checksum


def chunk(name, content):
    checksum = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


def header(width, height, depth=8, color=2):
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))


def png(width, height, *, depth=8, color=2, data=None, extra=b"", is_ended=True):
    """A PNG of zeros, by default with as many as its size needs."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color]
    packed = zeros(height * (1 + -(-width * channels * depth // 8))) if data is None else data
    end = chunk(b"IEND", b"") if is_ended else b""
    return PNG + header(width, height, depth, color) + extra + chunk(b"IDAT", packed) + end


def segment(marker, content):
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def jpeg(*parameters, pixels=NOISE):
    return encoded(".jpg", pixels, *parameters)


def frame_at(data):
    """Where the frame header of a JPEG is."""
    return max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))


def resized(data, width, height):
    """A JPEG with another size in its frame header."""
    at = frame_at(data) + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


def two_frames():
    """A JPEG with a second frame header, which is a huge one."""
    data = jpeg()
    at = frame_at(data)
    return data[: at + 19] + resized(data, 30_000, 30_000)[at:]


def hidden_frame():
    """A JPEG whose huge frame header is in what a careless reader takes for a segment."""
    data = jpeg()
    at = frame_at(data)
    huge = resized(data, 30_000, 30_000)[at : at + 19]
    return data[:at] + b"\xff\0" + struct.pack(">H", 25) + huge + b"\xff\xe3\0\x15" + data[at:]


def progressive(repeated):
    """A progressive JPEG of 9 megapixels whose last scan comes again and again."""
    data = jpeg(cv2.IMWRITE_JPEG_PROGRESSIVE, 1, pixels=np.full((3000, 3000, 3), 90, np.uint8))
    return data[:-2] + data[data.rindex(b"\xff\xda") : -2] * repeated + END


def exif(*tags, order="<"):
    """EXIF or TIFF data: a tag, its type, the number of values, and a value or where they are."""
    start = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}I", 8)
    entries = b"".join(struct.pack(f"{order}HHII", *tag) for tag in tags)
    return start + struct.pack(f"{order}H", len(tags)) + entries + bytes(4)


def overlapping(count, size):
    """EXIF of many tags that have the same large value."""
    tags = [(tag, 7, size - 200, 8) for tag in range(1000, 1000 + count)]
    return exif(*tags).ljust(size, b"\0")


def tiff(width, height, strip=b"", *, bits=8, compression=1, more=()):
    """A TIFF of one channel, with one strip behind its tags."""
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, bits), (259, 3, 1, compression),
            (262, 3, 1, 1), (277, 3, 1, 1), (278, 4, 1, height), (279, 4, 1, len(strip)),
            *more]  # fmt: skip
    begin = 8 + 2 + 12 * (len(tags) + 1) + 4
    return exif(*tags, (273, 4, 1, begin)) + strip


def rvl(width, height, content=b""):
    """Depth of compressedDepth in RVL."""
    return struct.pack("<iffii", 0, 0.0, 0.0, width, height) + content


def bombs():
    """Name, bytes and what is said about images that no reader may decode."""
    needs = "the (JPEG|PNG) is cut off"
    return {
        "png of 900 megapixels": (png(30_000, 30_000, depth=1, color=0), "too large"),
        "png of 225 megapixels": (png(15_000, 15_000, depth=1, color=0, data=b""), "too large"),
        "png of 16 bits": (png(14_200, 14_200, depth=16, color=6, data=b""), "too large"),
        "png without data": (png(4000, 4000, data=zeros(1000)), needs),
        "png with too much data": (png(10, 10, data=zeros(300_000_000)), "damaged"),
        "png with too much data and no end": (
            png(10, 10, data=zeros(100_000_000), is_ended=False), "damaged",
        ),
        "png of chunks": (PNG + header(9, 9) + chunk(b"tEXt", b"") * 100_001, "100000 chunks"),
        "png of two headers": (PNG + header(9, 9) + png(30_000, 9, data=b"")[8:], "header"),
        "png of no known kind": (PNG + header(9, 9, 3, 5) + chunk(b"IDAT", b""), "header"),
        "jpeg of 900 megapixels": (resized(jpeg(), 30_000, 30_000), "too large"),
        "jpeg without data": (resized(jpeg(pixels=FLAT), 6000, 6000), needs),
        "jpeg of two frames": (two_frames(), "several frame headers"),
        "jpeg with a hidden frame": (hidden_frame(), "too large"),
        "jpeg of scans": (progressive(5000), "scans"),
        "jpeg of empty scans": (
            jpeg()[:-2] + segment(0xDA, b"\1\1\0\0\x3f\0") * 30_000 + END, "scans",
        ),
        "jpeg of comments": (b"\xff\xd8" + segment(0xFE, b"") * 50_000, "10000 segments"),
        "jpeg of components": (
            b"\xff\xd8" + segment(0xC0, struct.pack(">BHHB", 8, 9, 9, 255) + bytes(765)),
            "255 colour components",
        ),
        "jpeg of restarts": (
            b"\xff\xd8\xff\xd8" + b"\xff\xd0" * 20_000 + jpeg()[2:], "10000 segments",
        ),
        "jpeg of fill bytes": (b"\xff\xd8" + b"\xff" * 2_000_000, needs),
        "jpeg of 0xff00": (b"\xff\xd8\xff" + b"\0\xff" * 1_000_000, needs),
    }  # fmt: skip
