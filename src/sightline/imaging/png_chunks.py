"""Chunks of a PNG: the check of critical ones, and the removal of metadata."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from sightline.core.rejection import RejectionError, RejectionReason
from sightline.imaging.png import chunk

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CRITICAL, _CHUNK = 0x20, struct.Struct(">I4s")
_METADATA = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
_ORIENTING = (b"Raw profile type exif", b"XML:com.adobe.xmp")
_MOST_TEXT = 16 * 2**20


def require_sound(data: bytes) -> None:
    """Rejects a PNG with a missing or damaged critical chunk: Pillow does not verify the checksums of the pixels.

    Raises:
        RejectionError: If a critical chunk is missing or damaged.
        struct.error: If the file ends inside a chunk's header.
    """
    for kind, start, end in _chunks(data):
        if not kind[0] & _CRITICAL and not _is_sound(data, start, end):
            raise RejectionError(RejectionReason.CORRUPT, "checksum of a PNG chunk")


def without_metadata(data: bytes) -> bytes | None:
    """Returns a PNG without its texts and colour profile, except for texts that may contain the orientation.

    Those are decompressed, up to 16 MiB in all, because Pillow rejects a text of more than 1 MiB if, and only if, it is
    compressed.

    Returns:
        The file with the same pixels; None if it has no such chunks, is damaged, or is not a PNG.
    """
    parts, dropped, left = [_SIGNATURE], False, _MOST_TEXT
    try:
        for kind, start, end in _chunks(data):
            if kind not in _METADATA:
                parts.append(data[start:end])
                continue
            if not _is_sound(data, start, end):
                return None
            dropped = True
            text = _orienting(kind, data[start + 8 : end - 4], left)
            left -= len(text)
            if text:
                parts.append(chunk(b"iTXt" if kind == b"iTXt" else b"tEXt", text))
    except (struct.error, RejectionError):
        return None
    return b"".join(parts) if dropped else None


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yields the type, start and end of each chunk, up to the end chunk."""
    at, kind = len(_SIGNATURE), b""
    if not data.startswith(_SIGNATURE):
        raise RejectionError(RejectionReason.CORRUPT, "not a PNG")
    while kind != b"IEND":
        length, kind = _CHUNK.unpack_from(data, at)
        end = at + 12 + length
        if end > len(data):
            raise RejectionError(RejectionReason.TRUNCATED, "the file ends inside a PNG chunk")
        yield kind, at, end
        at = end


def _is_sound(data: bytes, start: int, end: int) -> bool:
    (checksum,) = struct.unpack_from(">I", data, end - 4)
    return bool(zlib.crc32(memoryview(data)[start + 4 : end - 4]) == checksum)


def _orienting(kind: bytes, body: bytes, most: int) -> bytes:
    """Returns the content of an uncompressed chunk for a text that may contain the orientation; empty for others."""
    keyword, _, rest = body.partition(b"\0")
    if keyword not in _ORIENTING:
        return b""
    head, text, is_packed = keyword + b"\0", rest, False
    if kind == b"zTXt":
        text, is_packed = rest[1:], True
    elif kind == b"iTXt":
        language, _, translated = rest[2:].partition(b"\0")
        text, is_packed = translated.partition(b"\0")[2], rest[:1] == b"\1"
        head += b"\0\0" + language + b"\0\0"
    if is_packed:
        inflate = zlib.decompressobj()
        try:
            text = inflate.decompress(text, most)
        except zlib.error:  # Pillow ignores such a text as well
            return b""
        if not inflate.eof:
            return b""
    return head + text if len(text) <= most else b""
