"""Decoding: right pixels from every kind of file, a reason for every bad one, and nothing else."""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sightline.core.rejection import RejectionError, RejectionReason
from sightline.imaging import convert, decode, image_file
from sightline.imaging.image_file import Limits

# pytest sets its own filters for each test; the corpus test sees that nothing reaches standard error without it.
pytestmark = pytest.mark.filterwarnings("ignore::Warning:PIL")

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (23, 31, 3), dtype=np.uint8)
GREY = PICTURE[:, :, 0]
LOSSLESS = {"PNG": {}, "BMP": {}, "TIFF": {}, "PPM": {}, "WEBP": {"lossless": True}}


def encode(image: np.ndarray | Image.Image, fmt: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(stream, fmt, **options)
    return stream.getvalue()


def png(header: tuple[int, int, int, int], rows: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG from its parts: (width, height, bits, colour type), filtered rows, chunks before the pixels."""
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", *header, 0, 0, 0)),
        *chunks,
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts
    )


def reason(data: bytes, **limits: object) -> RejectionReason:
    with pytest.raises(RejectionError) as caught:
        decode.decode(data, limits=Limits(**limits))
    assert "\n" not in caught.value.detail
    assert len(caught.value.detail) <= 160
    assert "Error:" not in caught.value.detail, "a decoder's exception is no explanation for a person"
    return caught.value.reason


# --- pixels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fmt", LOSSLESS)
def test_lossless_formats_give_the_pixels(fmt: str) -> None:
    data = encode(PICTURE, fmt, **LOSSLESS[fmt])
    image = decode.decode(data)
    np.testing.assert_array_equal(image, PICTURE)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert image.flags.writeable
    assert decode.decode_with_info(data)[0] == image_file.Info(fmt, 31, 23, "RGB", 1)


@pytest.mark.parametrize("fmt", ["PNG", "BMP", "TIFF", "PPM", "GIF"])
def test_grey_is_kept_as_one_channel_and_repeated_as_three(fmt: str) -> None:
    data = encode(GREY, fmt)
    np.testing.assert_array_equal(decode.decode(data, 1), GREY[:, :, None])
    np.testing.assert_array_equal(decode.decode(data, 3), np.repeat(GREY[:, :, None], 3, axis=2))


def test_colour_becomes_grey_by_the_luma_of_bt601() -> None:
    expected = np.rint(PICTURE @ np.array([0.299, 0.587, 0.114]))
    assert np.max(np.abs(decode.decode(encode(PICTURE), 1)[:, :, 0] - expected)) <= 1


@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_in_every_format(fmt: str, orientation: int) -> None:
    upright = np.zeros((48, 64, 3), np.uint8)
    upright[:16, :32] = (255, 0, 0)
    upright[32:, :16] = (0, 0, 255)
    undo = {1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud}
    undo |= {5: lambda a: a.transpose(1, 0, 2), 6: np.rot90, 7: lambda a: np.rot90(a, 2).transpose(1, 0, 2)}
    undo |= {8: lambda a: np.rot90(a, -1)}
    stored = Image.fromarray(np.ascontiguousarray(undo[orientation](upright)))
    exif = Image.Exif()
    exif[274] = orientation
    lossy = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}
    image = decode.decode(encode(stored, fmt, exif=exif, **lossy.get(fmt, {})))
    assert image.shape == upright.shape
    assert np.max(np.abs(image.astype(int) - upright)) <= 3


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_is_none(orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    np.testing.assert_array_equal(decode.decode(encode(PICTURE, exif=exif)), PICTURE)


def test_a_broken_exif_block_costs_the_orientation_not_the_image() -> None:
    data = encode(PICTURE, exif=b"Exif\0\0MM\0*\xff\xff\xff\xff\xff")
    np.testing.assert_array_equal(decode.decode(data), PICTURE)


WIDE = np.array([[0, 255, 256, 4096, 32768, 65535]], np.uint16)


@pytest.mark.parametrize(
    "data",
    [
        encode(WIDE),
        encode(WIDE, "TIFF"),
        encode(Image.frombytes("I;16B", (6, 1), WIDE.astype(">u2").tobytes()), "TIFF"),
        b"P5 6 1 65535\n" + WIDE.astype(">u2").tobytes(),
        b"P2 6 1 65535\n" + b" ".join(str(v).encode() for v in WIDE[0]),
        cv2.imencode(".png", np.dstack([WIDE] * 3))[1].tobytes(),
        cv2.imencode(".ppm", np.dstack([WIDE] * 3))[1].tobytes(),
    ],
    ids=["png", "tiff", "tiff-big-endian", "pgm", "pgm-text", "png-rgb", "ppm-rgb"],
)
def test_16_bits_are_scaled_not_clipped(data: bytes) -> None:
    expected = WIDE / 257
    assert np.max(np.abs(decode.decode(data, 1)[:, :, 0] - expected)) <= 1
    assert decode.decode(data)[0, -1].tolist() == [255, 255, 255]


def test_pgm_with_another_maximum_is_scaled() -> None:
    assert decode.decode(b"P5 3 1 1023\n" + struct.pack(">3H", 0, 512, 1023), 1)[0, :, 0].tolist() == [0, 128, 255]
    assert decode.decode(b"P5 3 1 15\n" + bytes([0, 8, 15]), 1)[0, :, 0].tolist() == [0, 136, 255]


def test_16_bit_tiff_whose_white_is_zero() -> None:
    data = encode(WIDE, "TIFF", tiffinfo={262: 0})
    np.testing.assert_array_equal(decode.decode(data, 1), 255 - decode.decode(encode(WIDE, "TIFF"), 1))


@pytest.mark.parametrize("fmt", ["JPEG", "TIFF"])
def test_cmyk(fmt: str) -> None:
    inks = np.zeros((16, 64, 4), np.uint8)
    for n in range(4):
        inks[:, 16 * n : 16 * n + 16, n] = 255
    options = {"quality": 100, "subsampling": 0} if fmt == "JPEG" else {}
    image = decode.decode(encode(Image.fromarray(inks, "CMYK"), fmt, **options))
    for n, color in enumerate([(0, 255, 255), (255, 0, 255), (255, 255, 0), (0, 0, 0)]):
        assert np.max(np.abs(image[8, 16 * n + 8].astype(int) - color)) <= 4


def test_black_and_white() -> None:
    bits = GREY > 127
    for fmt in ("PNG", "TIFF", "PPM", "BMP"):
        np.testing.assert_array_equal(
            decode.decode(encode(Image.fromarray(bits), fmt), 1)[:, :, 0], bits * np.uint8(255)
        )


def test_alpha_is_laid_over_the_background() -> None:
    pixels = np.array([[[10, 20, 30, 0], [10, 20, 30, 255], [100, 100, 100, 51]]], np.uint8)
    for fmt in ("PNG", "TIFF", "WEBP"):
        options = {"lossless": True, "exact": True} if fmt == "WEBP" else {}
        image = decode.decode(encode(pixels, fmt, **options), background=(200, 0, 50))
        assert image[0].tolist() == [[200, 0, 50], [10, 20, 30], [180, 20, 60]]
    la = encode(Image.fromarray(np.array([[[10, 0], [10, 255]]], np.uint8), "LA"))
    assert decode.decode(la, 1, (90, 90, 90))[0, :, 0].tolist() == [90, 10]


def test_palettes_with_and_without_transparency() -> None:
    indexed = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "P")
    indexed.putpalette([9, 8, 7, 255, 0, 0, 0, 255, 0])
    for fmt in ("PNG", "GIF", "BMP", "TIFF"):
        assert decode.decode(encode(indexed, fmt))[0].tolist() == [[9, 8, 7], [255, 0, 0], [0, 255, 0]]
    for fmt in ("PNG", "GIF"):
        data = encode(indexed, fmt, transparency=1)
        assert decode.decode(data, background=(1, 2, 3))[0].tolist() == [[9, 8, 7], [1, 2, 3], [0, 255, 0]]
    half = encode(indexed, transparency=bytes([255, 51, 255]))
    assert decode.decode(half, background=(0, 0, 0))[0, 1].tolist() == [51, 0, 0]


@pytest.mark.parametrize(
    ("header", "rows", "key", "expected"),
    [
        ((2, 1, 8, 0), b"\0\x05\x09", b"\0\x09", [[5] * 3, [1, 2, 3]]),
        ((2, 1, 16, 0), b"\0\x05\x01\x05\x02", b"\x05\x02", [[5] * 3, [1, 2, 3]]),
        ((2, 1, 4, 0), b"\0\x3f", b"\0\x03", [[1, 2, 3], [255] * 3]),
        ((2, 1, 2, 0), b"\0\x90", b"\0\x02", [[1, 2, 3], [85] * 3]),
        ((2, 1, 1, 0), b"\0\x40", b"\0\x01", [[0] * 3, [1, 2, 3]]),
        ((2, 1, 8, 2), b"\0" + bytes([7, 8, 9, 4, 5, 6]), bytes([0, 4, 0, 5, 0, 6]), [[7, 8, 9], [1, 2, 3]]),
        ((1, 1, 16, 2), b"\0" + bytes([4, 9, 5, 9, 6, 9]), bytes([4, 9, 5, 9, 6, 9]), [[1, 2, 3]]),
    ],
    ids=["grey8", "grey16", "grey4", "grey2", "grey1", "rgb8", "rgb16"],
)
def test_a_transparent_colour_in_a_png(
    header: tuple[int, int, int, int], rows: bytes, key: bytes, expected: list[list[int]]
) -> None:
    data = png(header, rows, (b"tRNS", key))
    assert decode.decode(data, background=(1, 2, 3))[0].tolist() == expected


def test_large_images_are_the_same_in_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    files = [
        encode(PICTURE),
        encode(WIDE.repeat(9, axis=0)),
        encode(np.dstack([PICTURE, GREY])),
        encode(Image.fromarray(PICTURE).quantize(16), transparency=3),
    ]
    whole = [decode.decode(data) for data in files]
    monkeypatch.setattr(convert, "_BAND_PIXELS", 64)
    for data, image in zip(files, whole, strict=True):
        np.testing.assert_array_equal(decode.decode(data), image)


def test_threads_do_not_disturb_each_other() -> None:
    files = [encode(np.roll(PICTURE, n, axis=0)) for n in range(40)]
    with ThreadPoolExecutor(8) as pool:
        for n, image in enumerate(pool.map(decode.decode, files)):
            np.testing.assert_array_equal(image, np.roll(PICTURE, n, axis=0))


def test_encode_png_is_lossless_and_the_same_each_time() -> None:
    for image in (PICTURE, GREY[:, :, None]):
        data = decode.encode_png(image)
        assert data == decode.encode_png(image.copy())
        np.testing.assert_array_equal(decode.decode(data, image.shape[2]), image)


# --- refusals --------------------------------------------------------------------------------------------------------


def test_reasons() -> None:
    data = encode(PICTURE)
    assert reason(b"") == RejectionReason.EMPTY
    assert reason(b"hello") == RejectionReason.NOT_AN_IMAGE
    assert reason(data, max_bytes=100) == RejectionReason.TOO_MANY_BYTES
    assert reason(data, max_pixels=23 * 31 - 1) == RejectionReason.TOO_MANY_PIXELS
    assert decode.decode(data, limits=Limits(max_pixels=23 * 31, max_bytes=len(data))).shape == PICTURE.shape
    assert reason(data, formats=("JPEG",)) == RejectionReason.FORMAT_NOT_ALLOWED
    assert reason(b"8BPS" + bytes(40)) == RejectionReason.UNSUPPORTED_FORMAT
    assert reason(encode(np.ones((4, 4), np.float32), "TIFF")) == RejectionReason.UNSUPPORTED_FORMAT
    assert reason(encode(np.ones((4, 4), np.int32), "TIFF")) == RejectionReason.UNSUPPORTED_FORMAT
    assert reason(data[:20]) == RejectionReason.TRUNCATED
    assert reason(data[:8] + bytes(40)) == RejectionReason.CORRUPT


@pytest.mark.parametrize("fmt", ["GIF", "PNG", "WEBP", "TIFF"])
def test_animations_are_refused_or_give_their_first_frame(fmt: str) -> None:
    frames = [Image.fromarray(np.full((8, 8, 3), level, np.uint8)) for level in (255, 0, 128)]
    options = {"lossless": True} if fmt == "WEBP" else {}
    data = encode(frames[0], fmt, save_all=True, append_images=frames[1:], **options)
    assert decode.decode_with_info(data, limits=Limits(max_frames=9))[0].frames == 3
    assert decode.decode_with_info(data, limits=Limits(first_frame=True))[0].frames == 2
    assert reason(data) == RejectionReason.TOO_MANY_FRAMES
    assert reason(data, max_frames=2) == RejectionReason.TOO_MANY_FRAMES
    for limits in (Limits(first_frame=True), Limits(max_frames=3)):
        assert decode.decode(data, limits=limits).min() == 255


def test_a_cameras_jpeg_with_a_preview_is_one_frame() -> None:
    first, second = Image.fromarray(np.full((8, 8, 3), 250, np.uint8)), Image.fromarray(np.zeros((8, 8, 3), np.uint8))
    data = encode(first, "MPO", save_all=True, append_images=[second])
    assert decode.decode_with_info(data)[0] == image_file.Info("JPEG", 8, 8, "RGB", 1)
    assert decode.decode(data).min() > 240


def test_a_bomb_is_refused_from_its_header() -> None:
    bomb = png((20_000, 20_000, 8, 2), b"")
    assert reason(bomb) == RejectionReason.TOO_MANY_PIXELS
    assert reason(png((7_100, 7_100, 8, 2), b"")) == RejectionReason.TOO_MANY_PIXELS


@pytest.mark.parametrize("fmt", ["PNG", "JPEG", "BMP", "TIFF", "PPM", "WEBP", "GIF"])
def test_no_truncated_file_is_decoded(fmt: str) -> None:
    data = encode(PICTURE, fmt)
    # The last bytes of a GIF, JPEG or TIFF may be a trailer or padding, after the last pixel.
    for length in range(1, len(data) - 16, max(1, len(data) // 60)):
        assert reason(data[:length]) in (
            RejectionReason.TRUNCATED,
            RejectionReason.CORRUPT,
            RejectionReason.NOT_AN_IMAGE,
        )


def test_a_png_with_a_flipped_bit_in_its_pixels_is_refused() -> None:
    data = bytearray(encode(PICTURE))
    data[len(data) // 2] ^= 1
    assert reason(bytes(data)) == RejectionReason.CORRUPT
    assert reason(encode(PICTURE)[:-1]) == RejectionReason.TRUNCATED


def test_mistakes_of_the_caller_are_not_reasons() -> None:
    with pytest.raises(ValueError, match="channels: 2"):
        decode.decode(encode(PICTURE), 2)
    for wrong in ({"max_pixels": 0}, {"max_frames": 0}, {"formats": ()}, {"formats": ("EPS",)}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Limits(**wrong)


# --- hostile files ---------------------------------------------------------------------------------------------------

CORPUS_SCRIPT = """
import json, sys, time
from pathlib import Path
from sightline.imaging import decode as images, convert as pixels
if sys.platform == "linux":  # the peak so far is that of the process that this one was forked from
    Path("/proc/self/clear_refs").write_text("5")
rows = []
for path in sorted(p for p in Path(sys.argv[1]).rglob("*") if p.is_file()):
    data, start = path.read_bytes(), time.process_time()
    try:
        result = str(images.decode(data).shape)
    except images.RejectionError as refused:
        result = refused.reason
    rows.append((path.name, result, time.process_time() - start))
heavy = [name for name in ("torch", "hydra", "albumentations", "pyarrow") if name in sys.modules]
status = Path("/proc/self/status").read_text() if sys.platform == "linux" else "VmHWM: 0 kB"
print(json.dumps([rows, int(status.partition("VmHWM:")[2].split()[0]) // 1024, heavy]))
"""


def test_hostile_corpus_ends_in_pixels_or_reasons_and_says_nothing() -> None:
    root = Path(os.environ.get("SIGHTLINE_SHARED_DATA", "../shared/data")) / "hostile"
    if not root.is_dir():
        pytest.skip(f"no hostile images at {root}: set SIGHTLINE_SHARED_DATA")
    # A process of its own: a crash would be seen, and so is every word on standard error.
    command = [sys.executable, "-c", CORPUS_SCRIPT, str(root)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    rows, peak_mb, heavy = json.loads(done.stdout)
    assert heavy == []
    assert peak_mb < 512
    assert max(seconds for _, _, seconds in rows) < 2
    results = {name: result for name, result, _ in rows}
    assert len(rows) > 1000
    assert {r for r in results.values() if not r.startswith("(")} <= set(RejectionReason)
    assert results["truncated_jpeg.jpg"] == RejectionReason.TRUNCATED
    assert results["broken_data_stream.png"] == RejectionReason.CORRUPT
    assert results["hopper.psd"] == RejectionReason.UNSUPPORTED_FORMAT
    assert results["decompression_bomb.gif"] == RejectionReason.TOO_MANY_PIXELS
    assert sum(r.startswith("(") for r in results.values()) > 600


SEEDS = [
    encode(PICTURE, "PNG"),
    encode(GREY, "PNG"),
    encode(PICTURE, "JPEG"),
    encode(PICTURE, "JPEG", progressive=True),
    encode(PICTURE, "BMP"),
    encode(Image.fromarray(PICTURE).quantize(16), "GIF"),
    encode(PICTURE, "TIFF", compression="tiff_lzw"),
    encode(WIDE, "TIFF"),
    encode(PICTURE, "WEBP"),
    encode(PICTURE, "PPM"),
]


@settings(max_examples=400, deadline=None)
@given(
    seed=st.sampled_from(SEEDS),
    edits=st.lists(
        st.tuples(st.floats(0, 1), st.sampled_from(["flip", "cut", "insert", "zero"]), st.binary(max_size=8))
    ),
    keep=st.floats(0.3, 1),
)
def test_mutated_files_end_in_pixels_or_reasons(
    seed: bytes, edits: list[tuple[float, str, bytes]], keep: float
) -> None:
    data = bytearray(seed)
    for where, kind, extra in edits:
        # Squared: most of what can go wrong is said in the first bytes.
        at = int(where**2 * (len(data) - 1)) if data else 0
        if kind == "flip" and data:
            data[at] ^= extra[0] if extra else 1
        elif kind == "cut":
            del data[at : at + len(extra)]
        elif kind == "insert":
            data[at:at] = extra
        else:
            data[at : at + len(extra)] = bytes(len(extra))
    if keep < 0.9:
        del data[int(keep * len(data)) :]
    try:
        image = decode.decode(bytes(data), limits=Limits(max_pixels=10**6))
    except RejectionError:
        return
    assert image.dtype == np.uint8
    assert image.shape[2] == 3
