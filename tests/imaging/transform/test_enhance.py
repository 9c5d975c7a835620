"""Enhancement: textbook values, and what must not change."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from sightline.config.schema import Option
from sightline.imaging.transform.enhance import ENHANCE

METHODS = [name for name in ENHANCE if name != "none"]
RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)


@pytest.mark.parametrize("name", METHODS)
def test_mirroring_commutes(name: str, scene: np.ndarray, option: Callable[..., Option]) -> None:
    image = scene[:80, :96]  # CLAHE's tiles must divide the image evenly
    chosen = option("enhance", name)
    mirrored = chosen(np.ascontiguousarray(image[:, ::-1]))[:, ::-1]
    difference = np.abs(mirrored.astype(int) - chosen(image))
    # OpenCV's CLAHE blends its tiles in another order of rounding from the right than from the left.
    assert difference.max() <= (4 if name == "clahe" else 1)
    assert difference.mean() < 0.5


@pytest.mark.parametrize("name", METHODS)
def test_grey_stays_grey(name: str, scene: np.ndarray, option: Callable[..., Option]) -> None:
    chosen, grey = option("enhance", name), scene[:, :, :1]
    one, three = chosen(grey), chosen(np.repeat(grey, 3, axis=2))
    assert one.shape == grey.shape
    # Lab lightness is no linear function of the level: equalising it need not give the same levels, but still grey.
    assert np.max(np.ptp(three.astype(int), axis=2)) <= 2


def test_autocontrast_fills_the_range_and_undoes_a_linear_change(option: Callable[..., Option]) -> None:
    chosen = option("enhance", "autocontrast", cutoff=0.0)
    np.testing.assert_array_equal(chosen(RAMP), RAMP)
    dull = (RAMP // 2 + 60).astype(np.uint8)
    assert np.max(np.abs(chosen(dull).astype(int) - RAMP)) <= 2
    flat = np.full((5, 5, 1), 77, np.uint8)
    np.testing.assert_array_equal(chosen(flat), flat)


def test_autocontrast_lets_outliers_go(option: Callable[..., Option]) -> None:
    image = np.full((20, 20, 1), 100, np.uint8)
    image[:, 10:] = 150
    image[0, 0], image[0, 1] = 0, 255
    result = option("enhance", "autocontrast", cutoff=0.01)(image)
    assert sorted(set(result.reshape(-1).tolist())) == [0, 255]


def test_equalize_makes_all_levels_equally_frequent(option: Callable[..., Option]) -> None:
    dark = (RAMP.astype(float) ** 2 / 255).astype(np.uint8)
    result = option("enhance", "equalize")(dark)
    shares = np.bincount(result.reshape(-1) // 64, minlength=4) / result.size
    assert np.max(np.abs(shares - 0.25)) < 0.05


def test_clahe_raises_local_contrast(scene: np.ndarray, option: Callable[..., Option]) -> None:
    dull = (scene // 8 + 100).astype(np.uint8)
    assert option("enhance", "clahe")(dull).std() > 1.5 * dull.std()


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.2])
def test_gamma_is_a_power(gamma: float, option: Callable[..., Option]) -> None:
    result = option("enhance", "gamma", gamma=gamma)(RAMP).reshape(-1)
    assert np.max(np.abs(result - 255 * (np.arange(256) / 255) ** gamma)) <= 0.5


def test_unsharp_steepens_edges_and_leaves_weak_ones(option: Callable[..., Option]) -> None:
    edge = np.full((12, 12, 1), 100, np.uint8)
    edge[:, 6:] = 150
    result = option("enhance", "unsharp")(edge)
    assert result.min() < 100
    assert result.max() > 150
    weak = np.full((12, 12, 1), 100, np.uint8)
    weak[:, 6:] = 104
    np.testing.assert_array_equal(option("enhance", "unsharp", threshold=3)(weak), weak)
    np.testing.assert_array_equal(option("enhance", "unsharp", amount=0.0)(edge), edge)


def test_white_balance_makes_the_means_equal_whatever_the_cast(
    scene: np.ndarray, option: Callable[..., Option]
) -> None:
    chosen = option("enhance", "white_balance")
    image = scene // 2
    means = chosen(image).mean(axis=(0, 1))
    assert np.ptp(means) < 1
    cast = np.rint(image * [1.0, 0.7, 0.5]).astype(np.uint8)
    assert np.ptp(chosen(cast).mean(axis=(0, 1))) < 1


def test_white_balance_is_bounded(option: Callable[..., Option]) -> None:
    red = np.zeros((4, 4, 3), np.uint8)
    red[:, :, 0] = 90
    assert option("enhance", "white_balance", max_gain=2.0)(red)[0, 0].tolist() == [45, 0, 0]
