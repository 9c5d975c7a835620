"""Small pictures for the tests of the sources."""

from __future__ import annotations

import hashlib
import struct
import zlib

from sightline.datasets.raw_set import ImageRecord, Rejection


def png(number: int, side: int = 8) -> bytes:
    """Returns a grey PNG that is unique to its number."""
    noise = hashlib.shake_128(number.to_bytes(4, "big")).digest(side * side)  # so that no two are near duplicates
    pixels = b"".join(b"\0" + noise[side * row : side * (row + 1)] for row in range(side))
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))]
    chunks += [(b"IDAT", zlib.compress(pixels, 1)), (b"IEND", b"")]
    framed = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


# Sorted by code points; any other order (by case, by accent, by number, with spaces trimmed) differs.
AWKWARD_IDS = ["", " ", "10", "9", "C", "Z", "a", "a ", "a b", "b", "e1", "é", "ß", "日本", "🙂"]


def pictures(count: int = 40) -> list[ImageRecord]:
    """Returns labelled pictures, sorted by id, with ids that sort differently in different collations."""
    ids = AWKWARD_IDS[1:] + [f"bird/{number:05}.png" for number in range(count - len(AWKWARD_IDS) + 1)]
    return [
        ImageRecord(
            identifier,
            png(number),
            label=["cat", "Hund", "鳥"][number % 3],
            split=[None, "train", "test"][number % 3],
            group=None if number % 4 else f"g{number // 8}",
        )
        for number, identifier in enumerate(sorted(ids))
    ]


def as_read(items: list[ImageRecord | Rejection]) -> list[ImageRecord]:
    """Returns the records, none of which may be a rejection."""
    assert not [item for item in items if isinstance(item, Rejection)]
    return [item for item in items if isinstance(item, ImageRecord)]
