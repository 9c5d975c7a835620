"""Occlusion sensitivity on a network whose attention is known."""

from __future__ import annotations

import doctest
import io
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sightline.imaging.transform.pipeline import Statistics
from sightline.serve import occlusion


class Corner:
    """A network that looks at the lower right eighth of each side alone: the brighter it is, the surer."""

    transform = SimpleNamespace(statistics=None)

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        share = images[:, -8:, -8:].mean(axis=(1, 2, 3)) / 255
        return np.stack([1 - share, share], axis=1).astype(np.float32)


@pytest.fixture
def image() -> np.ndarray:
    image = np.zeros((64, 64, 1), np.uint8)
    image[-8:, -8:] = 255
    return image


@pytest.mark.parametrize("batch_size", [1, 16, 100])
def test_the_heat_is_where_the_network_looks(image: np.ndarray, batch_size: int) -> None:
    bundle: Any = Corner()
    heat = occlusion.explain(bundle, image, 1, 1.0, batch_size)
    assert np.unravel_index(heat.falls.argmax(), heat.falls.shape) == (7, 7)
    assert heat.falls[:6, :6].max() == 0
    assert occlusion.place_name(*heat.worst) == "lower right"
    assert heat.lowest == pytest.approx(image.mean().round() / 255)
    drawn = np.asarray(Image.open(io.BytesIO(occlusion.heat_png(heat))))
    assert drawn.shape == (224, 224, 4)
    assert drawn[-10, -10, 3] > 200
    assert drawn[:100, :100, 3].max() == 0


def test_the_patch_has_the_training_sets_colour_where_that_is_known(image: np.ndarray) -> None:
    bundle: Any = Corner()
    bundle.transform = SimpleNamespace(statistics=Statistics((0.5,), (0.1,)))
    assert occlusion.explain(bundle, image, 1, 1.0).lowest == pytest.approx(128 / 255, abs=0.01)


def test_a_network_that_does_not_care_leaves_the_picture_cold(image: np.ndarray) -> None:
    bundle: Any = Corner()
    heat = occlusion.explain(bundle, image, 0, 0.0)
    assert heat.falls.max() == 0
    assert np.asarray(Image.open(io.BytesIO(occlusion.heat_png(heat))))[:, :, 3].max() == 0


@pytest.mark.parametrize("side", [1, 3, 8, 9])
def test_images_smaller_than_the_grid(side: int) -> None:
    bundle: Any = Corner()
    assert occlusion.explain(bundle, np.full((side, side, 3), 9, np.uint8), 1, 9 / 255).falls.shape == (8, 8)


SIZES = [((600, 20, 1), (9, 256)), ((8, 8, 3), (8, 8)), ((9, 9, 2), (9, 9)), ((9, 9, 4), (9, 9))]


@pytest.mark.parametrize(("shape", "size"), SIZES)
def test_every_step_can_be_shown(shape: tuple[int, int, int], size: tuple[int, int]) -> None:
    assert Image.open(io.BytesIO(occlusion.picture_png(np.zeros(shape, np.uint8)))).size == size


def test_the_examples_in_the_docstrings() -> None:
    assert doctest.testmod(occlusion).failed == 0
