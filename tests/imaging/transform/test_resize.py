"""Resizing: every pixel counts, shapes are kept where promised."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from sightline.config.schema import Option
from sightline.imaging.transform.ops import scale


@pytest.mark.parametrize("shape", [(64, 64), (60, 44), (7, 64), (64, 5), (33, 9)])
def test_every_pixel_counts_when_shrinking(shape: tuple[int, int]) -> None:
    # Against scaling attacks: an impulse anywhere must be seen in the result, also where one side grows.
    for y in range(shape[0]):
        for x in range(shape[1]):
            image = np.zeros((*shape, 1), np.uint8)
            image[y, x] = 255
            assert scale(image, 8, 8).any(), (y, x)


def test_shrinking_averages(option: Callable[..., Option]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    result = option("resize", "stretch")(image, 8, (0, 0, 0))
    means = image.reshape(8, 8, 8, 8, 3).mean(axis=(1, 3))
    assert np.max(np.abs(result - means)) <= 0.51


@pytest.mark.parametrize("name", ["stretch", "pad", "crop"])
def test_the_right_size_is_left_alone(name: str, option: Callable[..., Option]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    np.testing.assert_array_equal(option("resize", name)(image, 16, (0, 0, 0)), image)


@pytest.mark.parametrize("name", ["stretch", "pad", "crop"])
def test_mirroring_commutes(name: str, option: Callable[..., Option]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (48, 80, 3), dtype=np.uint8)
    mirrored = option("resize", name)(np.ascontiguousarray(image[:, ::-1]), 16, (9, 9, 9))[:, ::-1]
    np.testing.assert_allclose(mirrored.astype(int), option("resize", name)(image, 16, (9, 9, 9)), atol=1)


@pytest.mark.parametrize("shape", [(40, 80), (80, 40), (1, 50), (50, 1), (3, 100)])
def test_pad_keeps_the_shape_in_the_middle(shape: tuple[int, int], option: Callable[..., Option]) -> None:
    result = option("resize", "pad")(np.full((*shape, 3), 200, np.uint8), 20, (1, 2, 3))
    inside = (result == 200).all(axis=2)
    assert (result[~inside] == (1, 2, 3)).all()
    height, width = inside.any(axis=1).sum(), inside.any(axis=0).sum()
    assert inside.sum() == height * width
    assert max(height, width) == 20
    assert abs(min(height, width) - max(1, 20 * min(shape) / max(shape))) <= 0.5


def test_crop_takes_the_middle_square(option: Callable[..., Option]) -> None:
    image = np.zeros((10, 30, 1), np.uint8)
    image[:, 10:20] = 255
    assert option("resize", "crop")(image, 5, (0,)).min() == 255
