"""10 to 14 bits in files of 16: found, named, and taken as they are where preprocess.sample_bits says so."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from sightline.config.compose import compose, typed
from sightline.core.errors import UserError
from sightline.core.rejection import RejectionError, RejectionReason
from sightline.datasets.raw_set import ImageRecord
from sightline.imaging import decode
from sightline.imaging.image_file import Limits
from sightline.imaging.transform.pipeline import Transform
from sightline.stages.ingest import console
from sightline.stages.ingest.image_quality import DARK
from sightline.stages.preprocess.config import PreprocessConfig
from sightline.stages.preprocess.stage import build_transform
from tests.stages.ingest.helpers import picture, run
from tests.stages.ingest.test_audit import scene
from tests.stages.ingest.test_stage import Given

TWELVE = (np.linspace(0, 4095, 60)[None, :] * np.ones((4, 1))).astype(np.uint16)
COLOURS = np.dstack([TWELVE, TWELVE[:, ::-1], TWELVE // 2])
EIGHT, EIGHT_COLOURS = (TWELVE >> 4).astype(np.uint8), (COLOURS >> 4).astype(np.uint8)


def grey(kind: str, samples: np.ndarray = TWELVE) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(samples).save(stream, kind)
    return stream.getvalue()


def png(samples: np.ndarray, color: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of [height, width, channels] uint16."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    header = struct.pack(">IIBBBBB", samples.shape[1], samples.shape[0], 16, color, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )


def opencv(kind: str, samples: np.ndarray, *options: int) -> bytes:
    return cv2.imencode(kind, samples[..., ::-1], options)[1].tobytes()


GREYS = {
    "png": grey("PNG"),
    "tiff": grey("TIFF"),
    "pgm": b"P5 60 4 65535\n" + TWELVE.astype(">u2").tobytes(),
}
IN_COLOUR = {
    "png": png(COLOURS, 2),
    "png of OpenCV, filtered": opencv(".png", COLOURS),
    "tiff": opencv(".tiff", COLOURS, cv2.IMWRITE_TIFF_COMPRESSION, 1),
    "tiff, LZW": opencv(".tiff", COLOURS, cv2.IMWRITE_TIFF_COMPRESSION, 5),
}


@pytest.mark.parametrize("data", GREYS.values(), ids=GREYS)
def test_twelve_bits_in_grey(data: bytes) -> None:
    info, pixels = decode.decode_with_info(data, 1)
    assert info.bits == 12
    assert len(np.unique(pixels)) == 16
    for bits in (12, None):
        np.testing.assert_array_equal(decode.decode(data, 1, sample_bits=bits)[:, :, 0], EIGHT)
    assert decode.decode(data, 1, sample_bits=14).max() == 63


@pytest.mark.parametrize("data", IN_COLOUR.values(), ids=IN_COLOUR)
def test_twelve_bits_in_colour(data: bytes) -> None:
    info, pixels = decode.decode_with_info(data)
    assert info.bits == 12
    np.testing.assert_array_equal(pixels, COLOURS >> 8)
    for bits in (12, None):
        np.testing.assert_array_equal(decode.decode(data, sample_bits=bits), EIGHT_COLOURS)


def test_transparency_keeps_its_high_bits() -> None:
    alpha = np.where(np.arange(60) < 30, 0, 65535) * np.ones((4, 1))
    data = png(np.dstack([COLOURS, alpha.astype(np.uint16)]), 6)
    pixels = decode.decode(data, background=(9, 9, 9), sample_bits=12)
    assert (pixels[:, :30] == 9).all()
    np.testing.assert_array_equal(pixels[:, 30:], EIGHT_COLOURS[:, 30:])


@pytest.mark.parametrize(("key", "shown"), [((80, 160, 240), [9, 9, 9]), ((80, 160, 65000), [5, 10, 15])])
def test_a_transparent_colour(key: tuple[int, ...], shown: list[int]) -> None:
    data = png(np.full((2, 2, 3), (80, 160, 240), np.uint16), 2, (b"tRNS", struct.pack(">3H", *key)))
    assert decode.decode(data, background=(9, 9, 9), sample_bits=12)[0, 0].tolist() == shown


def test_samples_beyond_white_are_refused_not_clipped() -> None:
    data = grey("PNG", TWELVE + 1)
    with pytest.raises(RejectionError, match=r"samples of 13 bits, preprocess\.sample_bits is 12") as caught:
        decode.decode(data, sample_bits=12)
    assert caught.value.reason == RejectionReason.TOO_MANY_BITS
    assert decode.decode(data, sample_bits=13).max() == 128


def test_files_that_say_how_many_bits_they_have_are_as_they_say() -> None:
    pgm = b"P5 60 4 4095\n" + TWELVE.astype(">u2").tobytes()
    tiff = io.BytesIO()
    Image.fromarray(TWELVE << 4).save(tiff, "TIFF", tiffinfo={258: 16})
    for data in (pgm, picture(1), grey("PNG", EIGHT)):
        info, pixels = decode.decode_with_info(data, 1)
        assert info.bits is None
        for bits in (8, 12, None):
            np.testing.assert_array_equal(decode.decode(data, 1, sample_bits=bits), pixels)
    assert decode.decode_with_info(tiff.getvalue(), 1)[0].bits == 16


def test_what_gives_no_low_bits_is_refused_where_they_are_asked_for() -> None:
    ppm = b"P6 60 4 65535\n" + COLOURS.astype(">u2").tobytes()
    with pytest.raises(RejectionError, match="save it as PNG or TIFF") as caught:
        decode.decode(ppm, sample_bits=12)
    assert caught.value.reason == RejectionReason.UNSUPPORTED_FORMAT
    for bits in (16, None):
        assert decode.decode(ppm, sample_bits=bits).max() == 16  # rounded, as PPM is


@pytest.mark.parametrize("bits", [7, 17])
def test_numbers_of_bits_that_there_are_not(bits: int) -> None:
    with pytest.raises(ValueError, match=f"sample_bits: {bits}"):
        decode.decode(picture(1), sample_bits=bits)


def test_ingestion_names_the_cause(tmp_path: Path) -> None:
    deep = [ImageRecord(f"{n}", grey("PNG", scene(n).astype(np.uint16) << 4), "ab"[n % 2]) for n in range(6)]
    others = [ImageRecord("full", grey("PNG", scene(9).astype(np.uint16) << 8), "a"), ImageRecord("x", picture(1), "b")]
    summary = run(Given(*deep, *others), tmp_path / "raw").summary
    assert summary["audit"]["few_bits"] == {"images": 6, "bits": 12, "examples": [str(n) for n in range(6)]}
    assert summary["audit"][DARK]["images"] == 0
    assert summary["audit"]["near_duplicates"]["groups"] == 0
    assert any("6 images" in line and "preprocess.sample_bits=12" in line for line in console.summary_lines(summary))


def section(*overrides: str) -> PreprocessConfig:
    return typed(PreprocessConfig, compose(list(overrides)).preprocess, "preprocess")


def test_the_setting_is_part_of_what_prediction_does(tmp_path: Path) -> None:
    plain, deep = (
        build_transform(section("preprocess.size=4", *more)) for more in ((), ("preprocess.sample_bits=12",))
    )
    deep.save(tmp_path / "contract.json")
    loaded = Transform.load(tmp_path / "contract.json")
    assert loaded == deep
    assert loaded.digest != plain.digest
    data: dict[str, Any] = {"data": GREYS["png"], "limits": Limits()}
    assert loaded.decode(**data).max() > 200
    assert plain.decode(**data).max() < 16


def test_the_settings_range(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"preprocess\.sample_bits: must be 8 to 16, not 17"):
        section("preprocess.sample_bits=17")
