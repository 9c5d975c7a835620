from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import betabinom

from sightline.core.errors import UserError
from sightline.metrics import conformal
from sightline.metrics.conformal import NoveltyThresholds
from sightline.models import novelty_detector
from sightline.models.novelty_detector import FittedNovelty, NoveltyDetector

D, K = 24, 3


def draw(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns images, embeddings and labels: as a network would give them, correlated, partly dead."""
    labels = rng.integers(0, K, count)
    mixing = np.random.default_rng(7).normal(size=(D, D)) * np.geomspace(1, 0.01, D)
    embeddings = np.maximum(0, rng.normal(size=(count, D)) @ mixing + 3 * np.eye(K, D)[labels])
    embeddings[:, -1] = 0
    images = rng.integers(100, 156, (count, 8, 8, 1)).astype(np.uint8)
    return images, embeddings.astype(np.float32), labels


def fitted(rng: np.random.Generator, directions: int) -> NoveltyDetector:
    images, embeddings, labels = draw(rng, 600)
    values = novelty_detector.features(images, embeddings)
    return novelty_detector.fit(values, labels, values.shape[1] - D, directions)


@pytest.mark.parametrize("directions", [8, 100])
def test_false_alarms_are_as_rare_as_promised_in_20_draws(directions: int) -> None:
    alarms, held_out, new = 0, 199, 200
    for seed in range(20):
        rng = np.random.default_rng(seed)
        detector = fitted(rng, directions)
        threshold = conformal.quantile(detector.distances(*draw(rng, held_out)[:2]), 0.05)
        assert threshold is not None
        alarms += int((detector.distances(*draw(rng, new)[:2]) > threshold).sum())
        images, embeddings, _ = draw(rng, 100)
        noise = rng.integers(0, 256, images.shape).astype(np.uint8)
        assert (detector.distances(noise, embeddings) > threshold).mean() >= 0.95
        assert (detector.distances(images, embeddings[:, ::-1]) > threshold).mean() >= 0.95
    # Each draw's rate is beta distributed, since its threshold is drawn; the mean of 20 of them nearly normal.
    one = betabinom(new, 10, 190)
    assert abs(alarms - 20 * one.mean()) < 3.5 * np.sqrt(20) * one.std()


def test_pixels_are_looked_at_at_the_scales_that_they_allow() -> None:
    flat = np.full((2, 3, 40, 1), 51, np.uint8)
    (first, second) = novelty_detector.pixel_features(flat)
    np.testing.assert_allclose(first, [51, 0, 0, 0, 2 / 3, np.mean(np.linspace(-1, 1, 40) ** 2), 0], atol=1e-12)
    assert np.array_equal(first, second)
    stripes = np.tile(np.array([0, 255], np.uint8), (1, 16, 8))[..., None]
    across, down, second, *_ = novelty_detector.pixel_features(stripes)[0, 7:]
    assert (across, down, second) == (255, 0, 510)
    root_across, root_down, *_ = novelty_detector.pixel_features(stripes)[0, 11:]
    assert (root_across, root_down) == (255, 0)
    assert len(novelty_detector.pixel_features(np.zeros((1, 64, 64, 3), np.uint8))[0]) == 6 + 5 + 3 * 11
    corner = np.zeros((1, 5, 5, 1), np.uint8)
    corner[0, 0, -1] = 255
    y, x, yy, xx, yx = novelty_detector.pixel_features(corner)[0, 2:7]  # each pixel weighs one more than its level
    assert (y, x, yx) == pytest.approx((-255 / 280, 255 / 280, -255 / 280))
    assert (yy, xx) == pytest.approx(((255 + 25 * 0.5) / 280,) * 2)


def test_it_is_the_same_when_read_again(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    kept = FittedNovelty(fitted(rng, 8), NoveltyThresholds(2.5, np.array([2.0, 2.5, 3.0]), 1, True), 0.05, 100)
    novelty_detector.save_detector(kept, tmp_path / "novelty.npz")
    images, embeddings, _ = draw(rng, 10)
    again = novelty_detector.load_detector(tmp_path / "novelty.npz")
    assert again is not None
    assert (again.thresholds.pooled, again.thresholds.sharing, again.thresholds.enough) == (2.5, 1, True)
    assert (again.rate, again.images) == (0.05, 100)
    assert np.array_equal(again.scores(images, embeddings), kept.scores(images, embeddings))
    novelty_detector.save_detector(None, tmp_path / "novelty.npz")
    assert novelty_detector.load_detector(tmp_path / "novelty.npz") is None
    (tmp_path / "novelty.npz").write_bytes(b"PK")
    with pytest.raises(UserError, match=r"novelty.npz is damaged.*run the evaluate stage again"):
        novelty_detector.load_detector(tmp_path / "novelty.npz")
    with pytest.raises(UserError, match="is missing: run the evaluate stage"):
        novelty_detector.load_detector(tmp_path / "none.npz")


def test_its_size_is_held_against_the_networks() -> None:
    for size in (10**5, 10**7, 10**9):
        count = novelty_detector.directions_for(size, 512, 40, 100)
        total = count + 40
        assert 512 * count + 2 * total**2 + 4 * 100 * total + 8 * 552 <= 0.035 * size or count == 16
        assert count == {10**5: 16, 10**9: 512}.get(size, count)
