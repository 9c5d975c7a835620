"""The quick decoders give what Pillow gives, or nothing."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sightline.core.rejection import RejectionError
from sightline.imaging import bit_depth, convert, decode, fast_decode, image_file
from sightline.imaging import png as encoder

pytestmark = pytest.mark.filterwarnings("ignore::Warning:PIL")

SAMPLINGS = ["4:4:4", "4:2:2", "4:2:0"]


def picture(height: int, width: int, channels: int, seed: int = 0, smooth: bool = False) -> Image.Image:
    """Noise, or noise from few pixels enlarged."""
    random = np.random.default_rng(seed)
    shape = (-(-height // 7), -(-width // 7)) if smooth else (height, width)
    noise = random.integers(0, 256, (*shape, channels), np.uint8)
    return Image.fromarray(noise[:, :, 0] if channels == 1 else noise).resize((width, height))


def jpeg(image: Image.Image, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", **options)
    return stream.getvalue()


def outcome(read: Callable[..., tuple[image_file.Info, convert.Pixels]], data: bytes, channels: int) -> object:
    """A reader's result for a file: the header, shape and pixels, or the reason."""
    try:
        info, pixels = read(data, channels, (255, 255, 255), image_file.ANY_SIZE, bit_depth.ALL_BITS)
    except RejectionError as refusal:
        return refusal.reason
    return info, pixels.shape, pixels.tobytes(), pixels.flags.writeable


def same(data: bytes) -> None:
    """Asserts that `decode_with_info` gives what Pillow gives."""
    for channels in (1, 3):
        assert outcome(decode.decode_with_info, data, channels) == outcome(decode._decode_by_pillow, data, channels)


sizes = st.tuples(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3]))


@given(sizes, st.integers(0, 2**32 - 1))
def test_a_png_as_ingestion_writes_it(size: tuple[int, int, int], seed: int) -> None:
    height, width, channels = size
    pixels = np.random.default_rng(seed).integers(0, 256, size, np.uint8)
    data = encoder.encode(pixels.tobytes(), height, width, channels)
    found = fast_decode.decode_png(data)
    assert found is not None
    np.testing.assert_array_equal(found, pixels)
    same(data)


@given(sizes, st.integers(0, 2**32 - 1), st.booleans(), st.integers(0, 9))
def test_a_png_with_filters(size: tuple[int, int, int], seed: int, smooth: bool, level: int) -> None:
    image = picture(*size, seed=seed, smooth=smooth)
    stream = io.BytesIO()
    image.save(stream, "PNG", compress_level=level)
    found = fast_decode.decode_png(stream.getvalue())
    assert found is not None
    np.testing.assert_array_equal(found, np.asarray(image).reshape(size))
    same(stream.getvalue())


@pytest.mark.parametrize(("filter_", "taken"), [(0, True), (1, True), (2, True), (3, True), (4, True), (5, False)])
@pytest.mark.parametrize("first", [0, 1])
def test_each_filter(filter_: int, taken: bool, first: int) -> None:
    rows = np.random.default_rng(filter_).integers(0, 256, (9, 1 + 3 * 7), np.uint8)
    rows[:, 0] = [first, *[filter_] * 8]
    header = struct.pack(">IIBBBBB", 7, 9, 8, 2, 0, 0, 0)
    data = joined([(b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes())), (b"IEND", b"")])
    assert (fast_decode.decode_png(data) is not None) == taken
    same(data)


@pytest.mark.parametrize("window", range(8))
def test_a_stream_that_refers_further_back_than_it_says_is_left_to_pillow(
    window: int, capfd: pytest.CaptureFixture[str]
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, 1300, np.uint8).tobytes()
    rows = b"".join(b"\1" + (noise * 9)[at : at + 99] for at in range(0, 99 * 80, 99))  # distances of 1,300 and more
    assert len(rows) < 2**14
    stream = bytearray(zlib.compress(rows, 9))
    stream[0] = window << 4 | 8
    stream[1] = 31 - (stream[0] << 8) % 31
    data = fast_decode._PNG + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in (
            (b"IHDR", struct.pack(">IIBBBBB", 99, 80, 8, 0, 0, 0, 0)),
            (b"IDAT", bytes(stream)),
            (b"IEND", b""),
        )
    )
    assert (fast_decode.decode_png(data) is not None) == (2 ** (window + 8) >= len(rows))
    assert np.array_equal(decode.decode(data, 1)[:, :, 0], np.asarray(Image.open(io.BytesIO(data))))
    assert capfd.readouterr() == ("", "")


def test_a_large_png_with_filters_is_left_to_pillow() -> None:
    stream = io.BytesIO()
    picture(100, 100, 3, smooth=True).save(stream, "PNG")
    assert fast_decode.decode_png(stream.getvalue()) is None
    same(stream.getvalue())


@given(sizes, st.integers(0, 2**32 - 1), st.integers(1, 100), st.sampled_from(SAMPLINGS), st.booleans())
def test_a_jpeg_of_the_plain_kind(
    size: tuple[int, int, int], seed: int, quality: int, sampling: str, smooth: bool
) -> None:
    data = jpeg(picture(*size, seed=seed, smooth=smooth), quality=quality, subsampling=sampling)
    assert fast_decode.decode_jpeg(data) is not None
    same(data)


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("order", ["<", ">"])
def test_the_orientation(orientation: int, order: str) -> None:
    exif = Image.Exif()
    exif.endian = order
    exif[0x010F] = "A maker"
    exif[0x0112] = orientation
    data = jpeg(picture(20, 30, 3), exif=exif)
    found = fast_decode.decode_jpeg(data)
    assert found is not None
    assert found[1] == (orientation if orientation in range(1, 9) else 1)
    same(data)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(jpeg(picture(20, 30, 3), progressive=True), id="progressive"),
        pytest.param(jpeg(picture(20, 30, 3).convert("CMYK")), id="cmyk"),
        pytest.param(jpeg(picture(20, 30, 3), xmp=b'<x tiff:Orientation="6"/>'), id="xmp"),
        pytest.param(jpeg(picture(20, 30, 3)) + b"more", id="more behind"),
        pytest.param(jpeg(picture(20, 30, 3))[:-2], id="no end"),
        pytest.param(jpeg(picture(1025, 1025, 1)), id="large"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"\xff\xd8\xff\xd9", id="only begin and end"),
    ],
)
def test_other_jpegs_are_left_to_pillow(data: bytes) -> None:
    assert fast_decode.decode_jpeg(data) is None
    same(data)


def test_xmp_without_an_orientation() -> None:
    data = jpeg(picture(20, 30, 3), xmp=b"<x:xmpmeta/>")
    assert fast_decode.decode_jpeg(data) is not None
    same(data)


def segment(kind: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, kind, len(body) + 2) + body


def with_segment(kind: int, body: bytes) -> bytes:
    data = jpeg(picture(12, 17, 3))
    return data[:20] + segment(kind, body) + data[20:]  # behind JFIF's own


RESOLUTION = b"8BIM\x03\xed\0\0" + struct.pack(">I", 16) + struct.pack(">IHHIHH", 72 << 16, 1, 1, 72 << 16, 1, 1)


@pytest.mark.parametrize(
    ("kind", "body", "taken"),
    [
        pytest.param(0xE0, b"JFIF\0", False, id="JFIF without a version"),
        pytest.param(0xE0, b"JFXX\0\x10", False, id="JFXX"),
        pytest.param(0xE2, b"ICC_PROFILE\0\1", False, id="an ICC profile cut off"),
        pytest.param(0xE2, b"ICC_PROFILE\0\1\1abc", True, id="an ICC profile"),
        pytest.param(0xE2, b"MPF\0II*\0", False, id="several pictures"),
        pytest.param(0xED, b"Photoshop 3.0\0" + RESOLUTION, True, id="Photoshop"),
        pytest.param(0xED, b"Photoshop 3.0\0" + RESOLUTION[:-1], False, id="Photoshop cut off"),
        pytest.param(0xED, b"Photoshop 3.0\x008BIM\0\1", False, id="Photoshop without a name"),
        pytest.param(0xED, b"Photoshop 3.0\0", True, id="Photoshop with nothing"),
        pytest.param(0xEE, b"Adobe\0\x64\0\0\0\0\1", False, id="Adobe"),
        pytest.param(0xEC, b"Ducky", False, id="another application"),
        pytest.param(0xFE, b"a comment", True, id="a comment"),
    ],
)
def test_segments_that_pillow_reads(kind: int, body: bytes, taken: bool) -> None:
    data = with_segment(kind, body)
    assert (fast_decode.decode_jpeg(data) is not None) == taken
    same(data)


entries = st.tuples(
    st.sampled_from([0x010F, 0x011A, 0x011B, 0x0112, 0x0128, 0x0132, 0x8769, 700]),
    st.sampled_from([1, 2, 3, 3, 4, 5, 5, 7, 13, 0]),
    st.sampled_from([0, 1, 1, 1, 2, 5, 9]),
    st.one_of(st.integers(0, 9).map(lambda turn: (turn, 0)), st.integers(0, 120).map(lambda at: (at, 0))),
)


@settings(max_examples=400)
@given(st.sampled_from("<>"), st.lists(entries, min_size=1, max_size=4), st.binary(max_size=40))
def test_any_exif_block_is_what_pillow_makes_of_it(
    order: str, fields: list[tuple[int, int, int, tuple[int, int]]], behind: bytes
) -> None:
    block = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}IH", 8, len(fields))
    for tag, kind, count, value in fields:
        form = "HH" if kind == 3 else "I"
        block += struct.pack(f"{order}HHI{form}", tag, kind, count, *value[: len(form)])
    same(with_segment(0xE1, b"Exif\0\0" + block + bytes(4) + behind))


def png_of(mode: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture(20, 30, 3).convert(mode).save(stream, "PNG", **options)
    return stream.getvalue()


@pytest.mark.parametrize("mode", ["1", "P", "LA", "RGBA", "I;16"])
def test_other_pngs_are_left_to_pillow(mode: str) -> None:
    data = png_of("L" if mode == "I;16" else mode)
    if mode == "I;16":
        stream = io.BytesIO()
        Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30) * 100).save(stream, "PNG")
        data = stream.getvalue()
    assert fast_decode.decode_png(data) is None
    same(data)


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 8
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        yield kind, data[at + 8 : at + 8 + length]
        at += 12 + length


def joined(parts: list[tuple[bytes, bytes]]) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts
    )


PLAIN = encoder.encode(bytes(range(200)), 10, 20, 1)
HEADER, PIXELS, END = chunks(PLAIN)


@pytest.mark.parametrize(
    ("parts", "taken"),
    [
        pytest.param([HEADER, (b"IDAT", PIXELS[1][:9]), (b"IDAT", PIXELS[1][9:]), END], True, id="two parts"),
        pytest.param([HEADER, *[(b"IDAT", b"")] * 200, PIXELS, END], False, id="many parts"),
        pytest.param([HEADER, (b"tRNS", b"\0\x07"), PIXELS, END], False, id="a transparent grey"),
        pytest.param([HEADER, PIXELS, (b"tEXt", b"a\0b"), END], False, id="a text behind"),
        pytest.param([HEADER, PIXELS], False, id="no end"),
        pytest.param([HEADER, END], False, id="no pixels"),
        pytest.param([HEADER, (b"IDAT", zlib.compress(bytes(210))), END], True, id="black"),
        pytest.param([HEADER, (b"IDAT", zlib.compress(bytes(209))), END], False, id="too few"),
        pytest.param([HEADER, (b"IDAT", zlib.compress(bytes(211))), END], False, id="too many"),
        pytest.param([HEADER, (b"IDAT", zlib.compress(b"\2" + bytes(209))), END], True, id="a filter"),
        pytest.param([HEADER, (b"IDAT", PIXELS[1] + b"\0"), END], False, id="more in the stream"),
        pytest.param([HEADER, (b"IDAT", PIXELS[1][:-1] + b"\0"), END], False, id="a wrong sum"),
        pytest.param([(b"IHDR", HEADER[1][:-1] + b"\1"), PIXELS, END], False, id="interlaced"),
        pytest.param([(b"IHDR", bytes(4) + HEADER[1][4:]), PIXELS, END], False, id="no width"),
    ],
)
def test_a_png_in_order_or_not(parts: list[tuple[bytes, bytes]], taken: bool) -> None:
    data = joined(parts)
    assert (fast_decode.decode_png(data) is not None) == taken
    same(data)


EXIF = Image.Exif()
EXIF.update({0x010F: "A maker", 0x0112: 6, 0x011A: 72.0, 0x011B: 72.0, 0x0128: 2})


@settings(max_examples=300)
@given(st.data())
def test_damaged_files_are_what_pillow_says(data: st.DataObject) -> None:
    whole = data.draw(
        st.sampled_from(
            [
                PLAIN,
                jpeg(picture(37, 41, 3, smooth=True), subsampling="4:2:0"),
                jpeg(picture(37, 41, 3), subsampling="4:2:2", restart_marker_blocks=2),
                jpeg(picture(37, 41, 1), quality=30),
                with_segment(0xED, b"Photoshop 3.0\0" + RESOLUTION),
                jpeg(picture(17, 11, 3), exif=EXIF, icc_profile=bytes(40)),
            ]
        )
    )
    broken = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(broken) - 1))
        match data.draw(st.sampled_from(["change", "delete", "insert", "repeat"])):
            case "change":
                broken[at] = data.draw(st.integers(0, 255))
            case "delete":
                del broken[at : at + data.draw(st.integers(1, 40))]
            case "insert":
                broken[at:at] = data.draw(st.binary(min_size=1, max_size=8))
            case _:
                broken[at:at] = broken[at : at + data.draw(st.integers(1, 40))]
        if not broken:
            break
    same(bytes(broken))


def test_the_hostile_corpus() -> None:
    root = Path(os.environ.get("SIGHTLINE_SHARED_DATA", "../shared/data")) / "hostile"
    if not root.is_dir():
        pytest.skip(f"no hostile images at {root}: set SIGHTLINE_SHARED_DATA")
    taken = 0
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        data = path.read_bytes()
        same(data)
        taken += fast_decode.decode_png(data) is not None or fast_decode.decode_jpeg(data) is not None
    assert taken > 10


def test_a_format_that_is_not_allowed_and_limits() -> None:
    for data in (PLAIN, jpeg(picture(10, 20, 1))):
        name = decode.decode_with_info(data)[0].format
        for limits in (
            image_file.Limits(formats=tuple(set(image_file.FORMATS) - {name})),
            image_file.Limits(max_pixels=199),
            image_file.Limits(max_bytes=len(data) - 1),
        ):
            with pytest.raises(RejectionError):
                decode.decode(data, limits=limits)
