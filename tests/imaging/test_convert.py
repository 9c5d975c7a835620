"""Pixels of opened images: turning them upright, and their channels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from sightline.imaging import convert

shapes = st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3]))


def noise(shape: tuple[int, int, int]) -> convert.Pixels:
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, np.uint8)


@given(shapes, st.integers(1, 8))
def test_turned_as_pillow_turns(shape: tuple[int, int, int], turn: int) -> None:
    image = noise(shape)
    image.flags.writeable = False
    picture = Image.fromarray(image[:, :, 0] if shape[2] == 1 else image)
    picture.getexif()[274] = turn
    expected = np.asarray(ImageOps.exif_transpose(picture))
    turned = convert.upright(image, turn)
    np.testing.assert_array_equal(turned, np.atleast_3d(expected))
    assert turned.flags.c_contiguous


@pytest.mark.parametrize("turn", [2, 3, 4, 6, 7, 8])
def test_turning_twice(turn: int) -> None:
    image = noise((5, 8, 3))
    back = {6: 8, 8: 6}.get(turn, turn)
    np.testing.assert_array_equal(convert.upright(convert.upright(image, turn), back), image)


def test_grey_of_every_colour_is_pillows() -> None:
    for red in range(256):
        colours = np.full((256, 256, 3), red, np.uint8)
        colours[:, :, 1], colours[:, :, 2] = np.mgrid[:256, :256]
        expected = np.asarray(Image.fromarray(colours).convert("L"))
        np.testing.assert_array_equal(convert.in_channels(colours, 1)[:, :, 0], expected)


@given(shapes)
def test_grey_has_the_luma_of_its_three_channels(shape: tuple[int, int, int]) -> None:
    image = noise(shape)
    for channels in (1, 3):
        result = convert.in_channels(image, channels)
        assert result.shape == (*shape[:2], channels)
        assert result.dtype == np.uint8
    grey = image[:, :, :1]
    np.testing.assert_array_equal(convert.in_channels(convert.in_channels(grey, 3), 1), grey)
