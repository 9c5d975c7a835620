"""Cleaning: borders, blanks, sizes, colours."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.config.schema import Option
from sightline.core.rejection import RejectionError, RejectionReason
from sightline.imaging.transform.clean import trim
from sightline.imaging.transform.color import convert
from sightline.imaging.transform.pipeline import Transform

NOISE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.integers(0, 255))
def test_trimming_undoes_a_border(top: int, bottom: int, left: int, right: int, level: int) -> None:
    framed = np.pad(NOISE, ((top, bottom), (left, right), (0, 0)), constant_values=level)
    np.testing.assert_array_equal(trim(framed, 8), NOISE)


def test_sides_of_different_colours_and_grain_are_trimmed() -> None:
    bars = np.vstack([np.full((5, 30, 3), 3, np.uint8), NOISE, np.full((7, 30, 3), 250, np.uint8)])
    bars[1, 2:9] += 5
    np.testing.assert_array_equal(trim(bars, 8), NOISE)
    assert trim(bars, 2).shape[0] > 20


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 9, 3), (9, 1, 3), (6, 6, 1)])
def test_an_image_that_would_vanish_stays_whole(shape: tuple[int, int, int]) -> None:
    blank = np.full(shape, 7, np.uint8)
    np.testing.assert_array_equal(trim(blank, 0), blank)


def test_trimming_a_long_strip_takes_no_time() -> None:
    strip = np.full((2_000_000, 2, 1), 9, np.uint8)
    strip[1_000_000:1_000_002] = [[[1], [200]], [[200], [1]]]
    assert trim(strip, 8).shape == (2, 2, 1)


def test_blank_images_are_refused(option: Callable[..., Option]) -> None:
    drop = option("clean", "standard")
    almost = np.full((9, 9, 3), (10, 200, 90), np.uint8)
    almost[4, 4] += 2
    with pytest.raises(RejectionError) as caught:
        drop(almost)
    assert caught.value.reason == RejectionReason.BLANK
    almost[4, 4] += 1
    assert drop(almost).size
    assert option("clean", "trim", drop_blank=False)(almost).size


def test_large_images_are_shrunk_and_small_ones_are_not(option: Callable[..., Option]) -> None:
    bounded = option("clean", "hsv", max_side=16)
    assert bounded(NOISE).shape == (11, 16, 3)
    assert bounded(NOISE[:16, :16]) is not None
    np.testing.assert_array_equal(bounded(NOISE[:16, :16]), NOISE[:16, :16])


PRIMARIES = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [128, 128, 128], [255, 255, 255]]], np.uint8)


def test_colours_have_their_textbook_values() -> None:
    assert convert(PRIMARIES, "hue")[0, :3, 0].tolist() == [0, 85, 171]
    assert convert(PRIMARIES, "saturation")[0, :, 0].tolist() == [255, 255, 255, 0, 0]
    assert convert(PRIMARIES, "value")[0, :, 0].tolist() == [255, 255, 255, 128, 255]
    assert convert(PRIMARIES, "grey")[0, :, 0].tolist() == [76, 150, 29, 128, 255]
    # L* of the sRGB primaries is 53.2, 87.7, 32.3; 8 bits hold it times 2.55.
    assert np.max(np.abs(convert(PRIMARIES, "lightness")[0, :3, 0] - np.array([53.2, 87.7, 32.3]) * 2.55)) <= 1
    assert convert(PRIMARIES, "a")[0, 3:, 0].tolist() == [128, 128]
    np.testing.assert_array_equal(convert(PRIMARIES, "lab")[:, :, 2], convert(PRIMARIES, "b")[:, :, 0])


def test_a_mask_is_kept_behind_the_colours() -> None:
    masked = np.dstack([PRIMARIES, np.array([[1, 2, 3, 4, 5]], np.uint8)])
    for color, channels in (("hsv", 4), ("grey", 2), ("hue", 2), ("keep", 4)):
        converted = convert(masked, color)
        assert converted.shape == (1, 5, channels)
        assert converted[0, :, -1].tolist() == [1, 2, 3, 4, 5]


def test_colours_are_converted_last_so_that_hues_are_not_averaged(
    build: Callable[..., Transform], option: Callable[..., Option]
) -> None:
    # Hues 254 and 1, both red: their mean as numbers is 127, which is cyan.
    reds = np.array([[[255, 0, 6], [255, 6, 0]]], np.uint8)
    hue = build(1, clean=option("clean", "hsv", color="hue"))(reds)[0, 0, 0]
    assert hue in (0, 255, 1, 254)
