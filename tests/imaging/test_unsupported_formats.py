"""Files of other kinds are named, with what to do; and pictures that bear much metadata are taken."""

from __future__ import annotations

import io
import re
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from sightline.core.rejection import RejectionError, RejectionReason
from sightline.imaging import decode

UNSUPPORTED, NOT_AN_IMAGE = RejectionReason.UNSUPPORTED_FORMAT, RejectionReason.NOT_AN_IMAGE
PICTURE = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)


def brand(name: bytes) -> bytes:
    return b"\0\0\0\x18ftyp" + name + bytes(64)


def encode(fmt: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(PICTURE).save(stream, fmt, **options)
    return stream.getvalue()


def tiff(tags: dict[int, int | bytes]) -> bytes:
    return encode("TIFF", tiffinfo=tags)


@pytest.mark.parametrize(
    ("data", "reason", "detail"),
    [
        (brand(b"heic"), UNSUPPORTED, "HEIC: convert it to JPEG or PNG, as `heif-convert FILE FILE.jpg` does"),
        (brand(b"mif1"), UNSUPPORTED, "HEIC"),
        (brand(b"avif"), UNSUPPORTED, "AVIF: .*avifdec"),
        (brand(b"crx "), UNSUPPORTED, "camera's raw file"),
        (brand(b"isom"), UNSUPPORTED, "a video: .*ffmpeg"),
        (b"\xff\x0a" + bytes(30), UNSUPPORTED, "JPEG XL: .*djxl"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", UNSUPPORTED, "JPEG XL"),
        (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(40), UNSUPPORTED, "JPEG 2000: .*opj_decompress"),
        (b"%PDF-1.7\n%\xe2\xe3", UNSUPPORTED, "PDF: .*pdftoppm"),
        (bytes(128) + b"DICM" + bytes(8), UNSUPPORTED, "DICOM: .*dcmj2pnm"),
        (b"8BPS" + bytes(40), UNSUPPORTED, "PSD"),
        (b"\0\0\1\0\1\0" + bytes(40), UNSUPPORTED, "ICO: convert it to JPEG or PNG$"),
        (b"PK\3\4" + bytes(40), NOT_AN_IMAGE, "an archive among the images: unpack it"),
        (bytes(257) + b"ustar\0" + bytes(300), NOT_AN_IMAGE, "an archive"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", UNSUPPORTED, "SVG: .*rsvg-convert"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- drawn -->\n<svg>", UNSUPPORTED, "SVG"),
        (b"FUJIFILMCCD-RAW 0201", UNSUPPORTED, "camera's raw file: .*darktable-cli"),
        (b"II\x2a\0\x10\0\0\0CR\2\0" + bytes(40), UNSUPPORTED, "camera's raw file"),
        (tiff({50706: b"\1\4\0\0"}), UNSUPPORTED, "camera's raw file"),
        (tiff({254: 1, 330: 8}), UNSUPPORTED, "camera's raw file"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 3\n",
            NOT_AN_IMAGE,
            "a Git LFS pointer, not the image itself: run `git lfs pull`",
        ),
        (b"/annex/objects/MD5E-s3--1.jpg\n", NOT_AN_IMAGE, "`git annex get .`"),
        (b"outs:\n- md5: 12\n  size: 3\n", NOT_AN_IMAGE, "`dvc pull`"),
        (b"\n<!DOCTYPE html><html></html>", NOT_AN_IMAGE, "an HTML page"),
        *((text, NOT_AN_IMAGE, "^text$") for text in (b"a", b"hi", b"\n", b"BM", b"P5", b"II", b"BM is a long text")),
        *((text, NOT_AN_IMAGE, "^text$") for text in (b"P1 is a name", b"GIF89a is a text", "größe ".encode() * 500)),
        *((data, NOT_AN_IMAGE, "no signature") for data in (b"\0", b"\xff\xd8", b"\xff\xfe\1", b"abc\0")),
    ],
)  # fmt: skip
def test_files_of_other_kinds_are_named(data: bytes, reason: RejectionReason, detail: str) -> None:
    with pytest.raises(RejectionError, match=f"^{reason}: ") as caught:
        decode.decode_with_info(data)
    assert caught.value.reason == reason
    assert re.search(detail, caught.value.detail), caught.value.detail
    assert len(caught.value.detail) <= 160


def test_a_picture_in_letters_that_is_cut_is_no_text() -> None:
    assert decode.decode(b"P2 2 1 255 7 9").tolist() == [[[7] * 3, [9] * 3]]
    with pytest.raises(RejectionError) as caught:
        decode.decode(b"P2 2 2 255 7 9")
    assert caught.value.reason != NOT_AN_IMAGE


def test_a_tiff_with_a_thumbnail_is_read() -> None:
    assert np.array_equal(decode.decode(tiff({254: 0})), PICTURE)


# --- metadata --------------------------------------------------------------------------------------------------------

MUCH = 1_200_000


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def bearing(*chunks: bytes, behind: bool = False) -> bytes:
    data = encode()
    at = data.index(b"IEND") - 4 if behind else 33
    return data[:at] + b"".join(chunks) + data[at:]


TEXTS = {
    "zTXt": chunk(b"zTXt", b"parameters\0\0" + zlib.compress(b"x" * MUCH)),
    "iTXt": chunk(b"iTXt", b"parameters\0\1\0en\0parameters\0" + zlib.compress("ü".encode() * MUCH)),
    "iCCP": chunk(b"iCCP", b"profile\0\0" + zlib.compress(bytes(MUCH))),
    "many": b"".join(chunk(b"zTXt", b"k%d\0\0" % n + zlib.compress(bytes(1_000_000))) for n in range(70)),
    "bomb": chunk(b"zTXt", b"parameters\0\0" + zlib.compress(bytes(2**28))),
}


@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.parametrize("behind", [False, True])
def test_a_png_with_much_metadata_is_a_picture(kind: str, behind: bool) -> None:
    data = bearing(TEXTS[kind], behind=behind)
    tracemalloc.start()
    info, pixels = decode.decode_with_info(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.array_equal(pixels, PICTURE)
    assert info == decode.decode_with_info(encode())[0]
    assert peak < 150 * 2**20


def test_a_png_as_pillow_writes_it_with_much_text() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", "x" * MUCH, zip=True)
    assert np.array_equal(decode.decode(encode(pnginfo=info)), PICTURE)


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
EXIF = b"\nexif\n      30\n" + (b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0").hex().encode()


@pytest.mark.parametrize(
    "orienting",
    [
        chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(EXIF)),
        chunk(b"tEXt", b"Raw profile type exif\0" + EXIF),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(XMP)),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(XMP + b" " * MUCH)),
    ],
)
@pytest.mark.parametrize("also", ["", "zTXt"])
def test_the_orientation_stays_whatever_else_is_left_out(orienting: bytes, also: str) -> None:
    data = bearing(orienting, TEXTS.get(also, b""))
    assert np.array_equal(decode.decode(data), np.rot90(PICTURE, -1))


def test_a_damaged_chunk_of_metadata_is_no_way_in() -> None:
    damaged = TEXTS["zTXt"][:-1] + b"\0"
    assert damaged != TEXTS["zTXt"]
    with pytest.raises(RejectionError):
        decode.decode(bearing(damaged))
    flipped = bytearray(bearing(TEXTS["zTXt"]))
    flipped[flipped.index(b"IDAT") + 8] ^= 1
    with pytest.raises(RejectionError, match="checksum"):
        decode.decode(bytes(flipped))
