"""An image's flags and its perceptual hash, at their bounds and to the bit."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy import fft

from sightline.stages.ingest.image_quality import BLURRED, BRIGHT, DARK, HASH_BYTES, ODD_SHAPE, measure_quality, phash

Grey = npt.NDArray[np.uint8]


def pattern(height: int, width: int) -> Grey:
    """A picture of whole numbers alone, so that it is the same on every machine."""
    rows, columns = np.arange(height)[:, None], np.arange(width)[None, :]
    return np.asarray((rows * rows * 3 + rows * columns * 7 + columns * 11) // 8 % 256, np.uint8)


def spotted(background: int, spots: int, value: int) -> Grey:
    """A picture of 100 pixels of which some have another value."""
    pixels = np.full(100, background, np.uint8)
    pixels[:spots] = value
    return pixels.reshape(10, 10)


@pytest.mark.parametrize(
    ("pixels", "flag", "has"),
    [
        (spotted(81, 0, 0), DARK, True),
        (spotted(82, 0, 0), DARK, False),
        (spotted(0, 1, 255), DARK, False),  # the 99th percentile
        (spotted(243, 0, 0), BRIGHT, True),
        (spotted(242, 0, 0), BRIGHT, False),
        (spotted(255, 4, 0), BRIGHT, True),
        (spotted(255, 5, 0), BRIGHT, False),  # the 5th percentile
        (pattern(7, 20), ODD_SHAPE, False),
        (pattern(6, 20), ODD_SHAPE, True),
        (pattern(20, 6), ODD_SHAPE, True),
    ],
)
def test_a_flag_begins_at_its_bound(pixels: Grey, flag: str, has: bool) -> None:
    assert (flag in measure_quality(pixels).flags) is has


@pytest.mark.parametrize(("noise", "is_blurred"), [(1.0, True), (2.0, False)])
def test_a_picture_is_blurred_where_its_laplacian_hardly_varies(noise: float, is_blurred: bool) -> None:
    # The Laplacian's variance is 20 of the noise's: 20 and 80, and 34 is the bound.
    pixels = np.rint(np.random.default_rng(0).normal(128, noise, (64, 64))).astype(np.uint8)
    assert (BLURRED in measure_quality(pixels).flags) is is_blurred


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((96, 96), "802700ad012e004900bd017f0fb517ff2fff1ffd3ffe3fa53fe83f003e00180f"),
        ((20, 40), "80590fa4385b63e14c1f5be1971ea8707e8e69315a63549cd56aad57aaec5a59"),
        ((7, 90), "841939ce26b568d753a9b546b59acab94a654ab9ac569728995ac2b96a65c6b9"),
        ((32, 31), "80de07013cfe7f0b601447fb5c2051efb6d4ad016a7e55c0ab1f5679d6c2549b"),
    ],
)  # fmt: skip
def test_the_hash_is_the_same_bits_everywhere(shape: tuple[int, int], expected: str) -> None:
    """Near duplicates are found between hashes of any age: another way to compute them is another set."""
    assert phash(pattern(*shape)).hex() == expected


def enlarged(pixels: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Interpolates each row to 32 pixels where it has fewer."""
    size = pixels.shape[1]
    full = max(size, 32)
    centres = (np.arange(full) + 0.5) * size / full - 0.5
    return np.array([np.interp(centres, np.arange(size), row) for row in pixels])


@pytest.mark.parametrize("shape", [(96, 96), (32, 32), (20, 40), (7, 90), (64, 127), (5, 5)])
def test_the_hash_is_the_signs_of_the_lowest_frequencies(shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    whole = enlarged(enlarged(pixels.astype(np.float64)).T).T
    # The DCT-II, unscaled as the hash's own: ortho scales the first row and column by 1/sqrt(2).
    lowest = fft.dctn(whole, 2)[:16, :16]
    expected = lowest >= np.sort(lowest, axis=None)[128]
    bits = np.unpackbits(np.frombuffer(phash(pixels), np.uint8)).reshape(16, 16)
    assert bits.size == 8 * HASH_BYTES
    assert np.count_nonzero(bits != expected) <= 2  # the hash rounds its base functions
