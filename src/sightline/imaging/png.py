"""PNG encoding for sources that have pixels rather than files: the same bytes on every machine."""

from __future__ import annotations

import struct
import zlib

_COLOUR_TYPE = {1: 0, 3: 2}  # channels -> PNG's greyscale and truecolour
_STORED = 65_535  # maximum bytes in a stored block of deflate


def encode(pixels: bytes, height: int, width: int, channels: int) -> bytes:
    """Returns an uncompressed PNG (RFC 2083).

    Not compressed, because compressed bytes depend on the version of zlib, and digests of images must not.

    Args:
        pixels: height x width x channels bytes, row by row.
        height: In pixels.
        width: In pixels.
        channels: 1 (grey) or 3 (RGB).
    """
    stride = width * channels
    rows = b"".join(b"\0" + pixels[start : start + stride] for start in range(0, height * stride, stride))
    blocks = [rows[start : start + _STORED] for start in range(0, len(rows), _STORED)]
    stored = b"".join(
        struct.pack("<BHH", number == len(blocks) - 1, len(block), len(block) ^ 0xFFFF) + block
        for number, block in enumerate(blocks)
    )
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPE[channels], 0, 0, 0)
    data = b"\x78\x01" + stored + struct.pack(">I", zlib.adler32(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def chunk(kind: bytes, content: bytes) -> bytes:
    """Returns a chunk of a PNG file: length, kind (four letters), content, checksum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
