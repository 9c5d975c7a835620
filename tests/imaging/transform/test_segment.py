"""Segmentation: each method finds the object, and the mask is used as asked."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from sightline.config.schema import Option
from sightline.imaging.transform.segment import SEGMENT

METHODS = [name for name in SEGMENT if name != "none"]
WHITE = (255, 255, 255)


def overlap(mask: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union."""
    return float((mask & truth).sum() / (mask | truth).sum())


@pytest.mark.parametrize("name", ["threshold", "kmeans", "grabcut", "watershed"])
@pytest.mark.parametrize("inverted", [False, True])
def test_the_object_is_found_bright_or_dark(
    name: str, inverted: bool, scene: np.ndarray, foreground: np.ndarray, option: Callable[..., Option]
) -> None:
    noise = np.random.default_rng(0).normal(0, 4, scene.shape)
    image = np.clip(scene + noise, 0, 255).astype(np.uint8)
    mask = option("segment", name).mask(255 - image if inverted else image)
    assert overlap(mask, foreground) > 0.93


def test_triangle_and_fixed_thresholds(
    scene: np.ndarray, foreground: np.ndarray, option: Callable[..., Option]
) -> None:
    for method in ("triangle", "fixed"):
        assert overlap(option("segment", "threshold", method=method).mask(scene), foreground) > 0.9
    fixed = option("segment", "threshold", method="fixed", level=100, foreground="bright")
    levels = np.array([[[99], [100], [101]]], np.uint8)
    assert fixed.mask(levels).tolist() == [[False, False, True]]


def test_otsu_is_the_best_division(option: Callable[..., Option], scene: np.ndarray) -> None:
    grey = scene[:, :, :1]
    mask = option("segment", "threshold", foreground="bright").mask(grey)
    levels = grey[:, :, 0].astype(float)

    def within(t: int) -> float:
        sides = [levels[levels <= t], levels[levels > t]]
        return sum(side.size * side.var() for side in sides if side.size)

    best = min(within(t) for t in range(int(levels.min()), int(levels.max())))
    found = levels[mask].size * levels[mask].var() + levels[~mask].size * levels[~mask].var()
    assert found == pytest.approx(best)


def test_adaptive_finds_strokes_under_uneven_light(option: Callable[..., Option]) -> None:
    light = np.linspace(90, 250, 128)[None, :].repeat(64, axis=0)
    strokes = np.zeros((64, 128), bool)
    strokes[10:54:8, 8:120] = True
    page = np.where(strokes, light - 50, light).astype(np.uint8)[:, :, None]
    assert overlap(option("segment", "adaptive", block_size=15).mask(page), strokes) > 0.9
    assert overlap(option("segment", "threshold").mask(page), strokes) < 0.5


def test_kmeans_takes_an_object_of_two_colours(option: Callable[..., Option]) -> None:
    image = np.full((60, 60, 3), 128, np.uint8)
    image[15:45, 15:30], image[15:45, 30:45] = (250, 20, 20), (20, 20, 90)
    mask = option("segment", "kmeans", clusters=3).mask(image)
    assert mask[15:45, 15:45].all()
    assert mask.sum() == 900


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("use", ["mask", "crop", "channel"])
def test_a_flat_image_is_unchanged_and_counted(name: str, use: str, option: Callable[..., Option]) -> None:
    flat = np.full((32, 40, 3), 77, np.uint8)
    result, fell_back = option("segment", name, use=use)(flat, WHITE)
    assert fell_back
    np.testing.assert_array_equal(result[:, :, :3], flat)
    if use == "channel":
        assert result[:, :, 3].min() == 255


def test_uses(scene: np.ndarray, foreground: np.ndarray, option: Callable[..., Option]) -> None:
    masked, _ = option("segment", "threshold", use="mask")(scene, (1, 2, 3))
    inside, outside = cv2.erode(foreground.astype(np.uint8), np.ones((5, 5))), ~foreground
    np.testing.assert_array_equal(masked[inside == 1], scene[inside == 1])
    assert (masked[0, 0] == (1, 2, 3)).all()
    assert (masked[outside] == (1, 2, 3)).all(axis=1).mean() > 0.95

    added, _ = option("segment", "threshold", use="channel")(scene, WHITE)
    np.testing.assert_array_equal(added[:, :, :3], scene)
    assert set(np.unique(added[:, :, 3])) == {0, 255}

    cropped, _ = option("segment", "threshold", use="crop", margin=0.0)(scene, WHITE)
    assert np.max(np.abs(np.array(cropped.shape[:2]) - 53)) <= 2
    wide, _ = option("segment", "threshold", use="crop", margin=0.1)(scene, WHITE)
    assert wide.shape[0] == cropped.shape[0] + 2 * round(0.1 * max(cropped.shape))


# Not grabcut: it learns from the frame, and so is not exact under translation.
@pytest.mark.parametrize("name", [name for name in METHODS if name != "grabcut"])
def test_a_moved_object_gives_the_same_crop(name: str, option: Callable[..., Option]) -> None:
    crops = []
    for top, left in ((20, 20), (31, 14)):
        image = np.full((96, 96, 3), 200, np.uint8)
        cv2.circle(image, (left + 20, top + 20), 18, (40, 60, 90), -1)
        crops.append(option("segment", name, use="crop")(image, WHITE)[0])
    np.testing.assert_array_equal(*crops)


def test_brightness_does_not_move_the_mask(scene: np.ndarray, option: Callable[..., Option]) -> None:
    chosen, grey = option("segment", "threshold"), scene[:, :, :1] // 2
    np.testing.assert_array_equal(chosen.mask(grey), chosen.mask(grey + np.uint8(90)))


@pytest.mark.parametrize("name", METHODS)
def test_neither_random_state_nor_threads_matter(name: str, scene: np.ndarray, option: Callable[..., Option]) -> None:
    chosen, threads = option("segment", name), cv2.getNumThreads()
    image = np.clip(scene + np.random.default_rng(1).normal(0, 25, scene.shape), 0, 255).astype(np.uint8)
    masks = []
    try:
        for seed, count in ((1, 1), (2, 2), (3, 4)):
            cv2.setRNGSeed(seed)
            cv2.setNumThreads(count)
            masks.append(chosen.mask(image))
    finally:
        cv2.setNumThreads(threads)
    np.testing.assert_array_equal(masks[0], masks[1])
    np.testing.assert_array_equal(masks[0], masks[2])


@pytest.mark.parametrize("name", ["kmeans", "grabcut", "watershed"])
def test_the_mask_of_a_large_image_is_found_on_a_small_copy(
    name: str, scene: np.ndarray, foreground: np.ndarray, option: Callable[..., Option]
) -> None:
    large = cv2.resize(scene, None, fx=6, fy=6)
    truth = cv2.resize(foreground.astype(np.uint8), None, fx=6, fy=6, interpolation=cv2.INTER_NEAREST) == 1
    mask = option("segment", name).mask(large)
    assert mask.shape == large.shape[:2]
    assert overlap(mask, truth) > 0.9
