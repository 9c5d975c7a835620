"""Fast decoding of small plain PNG and JPEG files, to exactly the same pixels as Pillow.

Of the time that Pillow takes for a thumbnail, decoding is a quarter to a third; the rest is overhead. Two kinds of file
are accepted here, recognized from their bytes alone; anything unusual or damaged is left to `imaging.decode`:

- PNG, 8 bits, grey or RGB, not interlaced, with only header, pixel and end chunks, whose checksums are verified. If no
  row is filtered, as in the arrays that ingestion encodes, the inflated stream contains the pixels unchanged; otherwise
  OpenCV undoes the filters, which the format defines exactly.
- JPEG, baseline, 8 bits, grey or YCbCr in the usual samplings, with all segments in order: decoded by libjpeg-turbo
  with the exact inverse transform and smooth upsampling, as in Pillow's wheels. A file for which it gives a warning is
  not accepted. Tests compare the pixels with Pillow's, in the versions of `requirements.lock`.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection

import numpy as np
import simplejpeg

from sightline.imaging.convert import Pixels

MOST_PIXELS = 2**20
"""For larger images, Pillow's overhead does not matter, and `sightline.imaging.decode` needs less memory."""

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_CHANNELS = {0: 1, 2: 3}  # by colour type
_IHDR = struct.Struct(">I4sIIBBBBBI")
_CHUNK = struct.Struct(">I4s")
_MOST_FILTER, _MOST_FILTERED = 4, 2**14  # Paeth's filter; bytes of the inflated stream
_UINT32 = struct.Struct(">I")

_SOI, _EOI = b"\xff\xd8", b"\xff\xd9"
_SOF, _SOS = (0xC0, 0xC1), 0xDA
_TABLES = frozenset({0xC4, 0xDB, 0xDD, 0xFE})  # Huffman codes, quantization tables, restart interval, comment
_JFIF, _EXIF, _ICC, _PHOTOSHOP = b"JFIF\0", b"Exif\0\0", b"ICC_PROFILE\0", b"Photoshop 3.0\0"
_XMP = (b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0")
_ORIENTATION = 274
_SHORT, _RATIONAL = 3, 5
# Entries that Pillow reads from an EXIF block, by tag, with the only type that is valid for them.
_READ = {_ORIENTATION: _SHORT, 0x011A: _RATIONAL, 0x011B: _RATIONAL, 0x0128: _SHORT}
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}  # bytes per value, by type
_FIRST = (0x11, 0x21, 0x22)  # sampling factors of the first component, when the others have 1x1
_YCBCR = {bytes((1, first, 2, 0x11, 3, 0x11)) for first in _FIRST}


def decode(data: bytes, formats: Collection[str], most: int) -> tuple[str, Pixels, int] | None:
    """Returns the format, the pixels as stored and the EXIF orientation; None for a file of neither kind.

    Args:
        data: The file.
        formats: The allowed formats; files of other formats are not decoded.
        most: Maximum number of pixels.
    """
    if "PNG" in formats and (pixels := decode_png(data, most)) is not None:
        return "PNG", pixels, 1
    if "JPEG" in formats and (found := decode_jpeg(data, most)):
        return "JPEG", *found
    return None


def decode_png(data: bytes, most: int = MOST_PIXELS) -> Pixels | None:
    """Returns [height, width, 1 or 3] uint8, a new array; None for a file that is not of this kind.

    Args:
        data: The file.
        most: Maximum number of pixels.
    """
    if len(data) < 57 or not data.startswith(_PNG):
        return None
    length, kind, width, height, bits, color, packing, filtering, interlace, checksum = _IHDR.unpack_from(data, 8)
    channels = _PNG_CHANNELS.get(color)
    if (length, kind, bits, packing, filtering, interlace) != (13, b"IHDR", 8, 0, 0, 0) or not channels:
        return None
    if not 0 < width * height <= min(most, MOST_PIXELS) or zlib.crc32(data[12:29]) != checksum:
        return None
    stride = 1 + width * channels
    if len(data) > 2 * height * stride + 1024:  # more chunks, or more bytes, than such pixels need
        return None
    whole, parts, at = memoryview(data), [], 33
    while True:
        if at + 12 > len(data):
            return None
        length, kind = _CHUNK.unpack_from(data, at)
        end = at + 8 + length
        if end + 4 > len(data) or zlib.crc32(whole[at + 4 : end]) != _UINT32.unpack_from(data, end)[0]:
            return None
        if kind != b"IDAT":
            break
        parts.append(whole[at + 8 : end])
        at = end + 4
    if kind != b"IEND" or length or end + 4 != len(data):
        return None
    inflate = zlib.decompressobj()
    stream = b"".join(parts)
    try:
        rows = inflate.decompress(stream, 1)
        if rows != b"\0" and height * stride > _MOST_FILTERED:  # inflating it twice would take longer than Pillow
            return None
        rows += inflate.decompress(inflate.unconsumed_tail, height * stride)
    except zlib.error:
        return None
    if len(rows) != height * stride or not inflate.eof or inflate.unused_data:
        return None
    lines = np.frombuffer(rows, np.uint8).reshape(height, stride)
    filters = lines[:, 0]
    if filters.any():
        # The stream declares its window size. OpenCV trusts it, and complains on standard error if it is too small.
        window = 1 << (stream[0] >> 4) + 8
        known = filters.max() <= _MOST_FILTER and len(rows) <= min(window, _MOST_FILTERED)
        return _unfiltered(data, (height, width, channels)) if known else None
    return lines[:, 1:].copy().reshape(height, width, channels)


def _unfiltered(data: bytes, shape: tuple[int, int, int]) -> Pixels | None:
    """Decodes a PNG that has been checked except for its filtered rows, which can be undone in only one way."""
    import cv2  # few datasets need it unless something else has imported it already

    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.reshape(*pixels.shape[:2], -1).shape != shape:
        return None
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB) if shape[2] == 3 else pixels, np.uint8).reshape(shape)


def decode_jpeg(data: bytes, most: int = MOST_PIXELS) -> tuple[Pixels, int] | None:
    """Returns [height, width, 1 or 3] uint8 as stored, and the EXIF orientation, 1..8; None if not of this kind.

    Args:
        data: The file.
        most: Maximum number of pixels.
    """
    if not data.startswith(_SOI) or not data.endswith(_EOI):
        return None
    found = _header(data)
    if found is None or found[0][0] * found[0][1] > min(most, MOST_PIXELS):
        return None
    shape, turn = found
    try:
        pixels = simplejpeg.decode_jpeg(data, "RGB" if shape[2] == 3 else "GRAY", fastdct=False, fastupsample=False)
    except ValueError:  # includes libjpeg's warnings, which it treats as errors by default
        return None
    return (pixels, turn) if pixels.shape == shape else None


def _header(data: bytes) -> tuple[tuple[int, int, int], int] | None:
    """Walks the segments before the pixels; returns (height, width, channels) and the orientation; None if unusual."""
    shape: tuple[int, int, int] | None = None
    turn, exif, at = 1, False, 2
    while at + 4 <= len(data):
        marker, kind, length = data[at], data[at + 1], data[at + 2] << 8 | data[at + 3]
        body = data[at + 4 : at + 2 + length]
        if marker != 0xFF or length < 2 or len(body) != length - 2:
            return None
        at += 2 + length
        if kind == _SOS:
            # All components must be in one scan, as in baseline files.
            return (shape, turn) if shape and body[:1] == bytes([shape[2]]) and len(body) == 4 + 2 * shape[2] else None
        if kind in _SOF:
            shape = _frame(body) if shape is None else None
            if shape is None:
                return None
        elif kind == 0xE1 and body.startswith(_EXIF):
            oriented = _orientation(body[len(_EXIF) :])
            if exif or oriented is None:
                return None
            turn, exif = oriented, True
        elif kind not in _TABLES and not _harmless(kind, body):
            return None
    return None


def _harmless(kind: int, body: bytes) -> bool:
    """Returns whether an application segment is of a known kind, valid, and does not affect the pixels."""
    match kind:
        case 0xE0:
            return body.startswith(_JFIF) and len(body) >= 14
        case 0xE1:  # XMP may contain an orientation, too
            return body.startswith(_XMP) and b"Orientation" not in body
        case 0xE2:
            return body.startswith(_ICC) and len(body) >= 14
        case 0xED:
            return body.startswith(_PHOTOSHOP) and _in_order(body)
    return False


def _in_order(photoshop: bytes) -> bool:
    """Returns whether a Photoshop segment consists of valid resources only."""
    at = len(_PHOTOSHOP)
    while at < len(photoshop):
        if photoshop[at : at + 4] != b"8BIM" or at + 7 > len(photoshop):
            return False
        resource = photoshop[at + 4 : at + 6]
        at += 7 + photoshop[at + 6]
        at += at & 1
        if at + 4 > len(photoshop):
            return False
        (size,) = _UINT32.unpack_from(photoshop, at)
        if at + 4 + size > len(photoshop) or (resource == b"\x03\xed" and size != 16):  # the resolution
            return False
        at += 4 + size
        at += at & 1
    return True


def _frame(body: bytes) -> tuple[int, int, int] | None:
    """Returns (height, width, channels) from a frame header; None if it is unusual."""
    if len(body) < 9 or body[0] != 8:
        return None
    height, width, components = body[1] << 8 | body[2], body[3] << 8 | body[4], body[5]
    if len(body) != 6 + 3 * components or not width * height:
        return None
    sampled = b"".join(body[at : at + 2] for at in range(6, len(body), 3))  # each component's id and sampling factors
    if (components == 1 and body[7] in _FIRST) or (components == 3 and sampled in _YCBCR):
        return height, width, components
    return None


def _orientation(tiff: bytes) -> int | None:
    """Returns the orientation in an EXIF block, 1 if it has none; None for a block that is not clearly valid."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None or len(tiff) < 14:
        return None
    (start,) = struct.unpack_from(f"{order}I", tiff, 4)
    if start < 8 or start + 2 > len(tiff):
        return None
    (entries,) = struct.unpack_from(f"{order}H", tiff, start)
    if start + 2 + 12 * entries > len(tiff):
        return None
    turn, seen = 1, set()
    for at in range(start + 2, start + 2 + 12 * entries, 12):
        tag, kind, count, value = struct.unpack_from(f"{order}HHI4s", tiff, at)
        size = _SIZES.get(kind, 0) * count
        if tag in seen or not size or (size > 4 and struct.unpack(f"{order}I", value)[0] + size > len(tiff)):
            return None
        seen.add(tag)
        if tag in _READ and (kind, count) != (_READ[tag], 1):
            return None
        if tag == _ORIENTATION:
            (given,) = struct.unpack_from(f"{order}H", value)
            turn = given if 1 <= given <= 8 else 1
    return turn
