"""Histograms of gradients, descriptors and standardised pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.stages.baseline.features import PixelStandardizer, grey, in_batches, reduced
from sightline.stages.baseline.methods.hog_svm import BINS, hog
from sightline.stages.baseline.methods.sift_svm import descriptors, histograms


def stripes(angle: float, side: int = 32, channels: int = 1) -> np.ndarray:
    """A wave whose brightness grows and falls along a direction, in degrees from the x axis to the y axis."""
    y, x = np.mgrid[:side, :side]
    along = x * np.cos(np.radians(angle)) + y * np.sin(np.radians(angle))
    return np.repeat((127 + 120 * np.sin(along / 2))[..., None], channels, axis=2).astype(np.uint8)


@pytest.mark.parametrize("number", range(BINS))
def test_a_direction_is_a_bin(number: int) -> None:
    features = hog(stripes((number + 0.5) * 180 / BINS)[None], 4).reshape(
        4, BINS, -1
    )  # corners of a block, bins, blocks
    assert features.sum(axis=(0, 2)).argmax() == number


def test_hog_sees_neither_brightness_nor_contrast_nor_a_repeated_channel() -> None:
    image = stripes(30)
    darker = (image // 2 + 20).astype(np.uint8)
    expected = hog(image[None], 6)
    assert np.abs(hog(darker[None], 6) - expected).max() < 0.03
    assert np.abs(hog(255 - image[None], 6) - expected).max() < 1e-5
    assert (hog(stripes(30, channels=3)[None], 6) == expected).all()
    assert (hog(np.full((1, 9, 9, 3), 80, np.uint8), 6) == 0).all()


def test_hog_takes_the_channel_with_the_largest_gradient() -> None:
    both = np.concatenate([stripes(80), np.full((32, 32, 1), 99, np.uint8)], axis=2)
    assert (hog(both[None], 4) == hog(stripes(80)[None], 4)).all()


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 5), st.integers(2, 9))
def test_hog_of_any_shape(height: int, width: int, channels: int, cells: int) -> None:
    images = np.random.default_rng(height).integers(0, 256, (2, height, width, channels), np.uint8)
    features = hog(images, cells)
    assert features.shape == (2, (cells - 1) ** 2 * 4 * BINS)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()
    assert features.min() >= 0
    assert features.max() <= 1


@pytest.mark.parametrize("shape", [(8, 8, 1), (16, 16, 2), (100, 30, 3), (9, 64, 4)])
@pytest.mark.parametrize("level", [None, 0, 255])
def test_every_image_has_descriptors(shape: tuple[int, int, int], level: int | None) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    if level is not None:
        image[:] = level
    found = descriptors(image, 64)
    assert found.shape[1] == 128
    lengths = np.linalg.norm(found, axis=1)
    assert ((np.abs(lengths - 1) < 1e-4) | (lengths == 0)).all()


def test_histograms_count_words_by_image() -> None:
    found = histograms(np.array([0, 0, 2, 1, 1], np.int32), [3, 2], 3)
    assert np.allclose(found**2, [[2 / 3, 0, 1 / 3], [0, 1, 0]])


def test_standard_pixels() -> None:
    images = np.random.default_rng(0).integers(0, 256, (50, 6, 6, 3), np.uint8)
    images[..., 2] = 9  # a channel that says nothing
    pixels = PixelStandardizer(64)
    numbers = pixels.fit(images).reshape(50, 36, 3)
    assert np.abs(numbers.mean(axis=(0, 1))).max() < 1e-4
    assert np.abs(numbers.std(axis=(0, 1)) - [1, 1, 0]).max() < 1e-4
    assert (pixels(images) == numbers.reshape(50, -1)).all()


def test_large_images_are_reduced_by_means() -> None:
    images = np.zeros((2, 4, 8, 1), np.uint8)
    images[:, :, :2] = 100
    small = reduced(images, 4)
    assert small.shape == (2, 2, 4, 1)
    assert small[0, :, :, 0].tolist() == [[100, 0, 0, 0]] * 2
    assert reduced(images, 8) is images


def test_grey_leaves_the_mask_out() -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 4, 4), np.uint8)
    other = image.copy()
    other[..., 3] = 0
    assert (grey(image) == grey(other)).all()
    assert (grey(image[..., :2]) == image[..., 0]).all()


def test_batches_come_in_order() -> None:
    images = np.arange(700, dtype=np.int64).astype(np.uint8).reshape(700, 1, 1, 1)
    found = in_batches(lambda batch: batch.reshape(-1, 1).astype(np.float32), images, 3)
    assert (found[:, 0] == np.arange(700) % 256).all()
