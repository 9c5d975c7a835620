"""Denoising: each option removes noise, and keeps what it promises."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from sightline.config.schema import Option
from sightline.imaging.transform.denoise import DENOISE
from sightline.imaging.transform.denoise.nonlocal_means import estimate_noise

METHODS = [name for name in DENOISE if name != "none"]


def noisy(image: np.ndarray, sigma: float) -> np.ndarray:
    noise = np.random.default_rng(3).normal(0, sigma, image.shape)
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


def psnr(image: np.ndarray, reference: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((image.astype(float) - reference) ** 2)))


@pytest.mark.parametrize(
    ("name", "gain"),
    [
        ("median", 5),
        ("gaussian", 5),
        ("bilateral", 3),
        ("nonlocal_means", 9),
        ("total_variation", 9),
        ("wavelet", 7),
        ("auto", 9),
    ],
)
def test_noise_of_ten_levels_is_reduced(
    name: str, gain: float, scene: np.ndarray, option: Callable[..., Option]
) -> None:
    image = noisy(scene, 10)
    fitting = {"sigma": 1.0} if name == "gaussian" else {}
    assert psnr(option("denoise", name, **fitting)(image), scene) > psnr(image, scene) + gain  # dB


@pytest.mark.parametrize("name", METHODS)
def test_a_flat_image_stays_flat(name: str, option: Callable[..., Option]) -> None:
    flat = np.full((40, 30, 3), (9, 99, 199), np.uint8)
    np.testing.assert_array_equal(option("denoise", name)(flat), flat)


@pytest.mark.parametrize("name", ["median", "gaussian", "bilateral", "nonlocal_means", "auto"])
def test_mirroring_commutes(name: str, scene: np.ndarray, option: Callable[..., Option]) -> None:
    image, chosen = noisy(scene, 8), option("denoise", name)
    mirrored = chosen(np.ascontiguousarray(image[:, ::-1]))[:, ::-1]
    assert np.max(np.abs(mirrored.astype(int) - chosen(image))) <= 1


@pytest.mark.parametrize("name", METHODS)
def test_swapping_channels_commutes(name: str, scene: np.ndarray, option: Callable[..., Option]) -> None:
    image, chosen = noisy(scene, 8), option("denoise", name)
    swapped = chosen(np.ascontiguousarray(image[:, :, ::-1]))[:, :, ::-1]
    assert np.max(np.abs(swapped.astype(int) - chosen(image))) <= 1


def test_median_removes_specks_and_keeps_edges(option: Callable[..., Option]) -> None:
    image = np.zeros((9, 10, 1), np.uint8)
    image[:, 5:] = 200
    speckled = image.copy()
    speckled[4, 2], speckled[2, 7] = 255, 0
    np.testing.assert_array_equal(option("denoise", "median")(speckled), image)


def test_gaussian_is_the_normal_distribution(option: Callable[..., Option]) -> None:
    image = np.zeros((21, 21, 1), np.uint8)
    image[10, 10] = 255
    y, x = np.mgrid[-10:11, -10:11]
    expected = 255 * np.exp(-(x**2 + y**2) / 2) / (2 * np.pi)
    blurred = option("denoise", "gaussian", sigma=1.0)(image)[:, :, 0]
    assert np.max(np.abs(blurred - expected)) <= 1


def test_total_variation_falls_and_the_mean_stays(scene: np.ndarray, option: Callable[..., Option]) -> None:
    image = noisy(scene, 10)
    variations = []
    for weight in (0.1, 2.0, 8.0, 30.0):
        result = option("denoise", "total_variation", weight=weight)(image).astype(float)
        variations.append(np.abs(np.diff(result, axis=0)).sum() + np.abs(np.diff(result, axis=1)).sum())
        assert abs(result.mean() - image.mean()) < 0.1
    assert variations == sorted(variations, reverse=True)


@pytest.mark.parametrize("sigma", [5, 10, 20, 40])
def test_the_noise_is_estimated(sigma: float, scene: np.ndarray) -> None:
    assert estimate_noise(noisy(scene // 2 + 64, sigma)) == pytest.approx(sigma, rel=0.15)


def test_auto_leaves_clean_images_alone(scene: np.ndarray, option: Callable[..., Option]) -> None:
    assert estimate_noise(scene) < 1
    assert option("denoise", "auto")(scene) is scene


def test_auto_smooths_more_where_there_is_more_noise(scene: np.ndarray, option: Callable[..., Option]) -> None:
    for sigma in (6, 12, 24):
        image = noisy(scene, sigma)
        assert psnr(option("denoise", "auto")(image), scene) > psnr(image, scene) + 7
