from __future__ import annotations

import doctest

import numpy as np
import pytest
from crepes import ConformalClassifier
from scipy.stats import binom

from sightline.metrics import conformal, conformity_scores
from sightline.metrics.conformity_scores import CONFORMITY_SCORES

K = 4


def probabilities(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns labels and the softmax of logits that favour them, some classes more than others."""
    labels = rng.integers(0, K, count)
    logits = rng.normal(size=(count, K))
    logits[np.arange(count), labels] += 1.0 + labels
    weights = np.exp(logits)
    return labels, weights / weights.sum(axis=1, keepdims=True)


def test_the_examples_hold() -> None:
    assert doctest.testmod(conformal).failed == 0


def reference(name: str, row: np.ndarray, label: int) -> float:
    """Returns a class's nonconformity to an image's probabilities, by the papers' formulas, without a random number."""
    above = sorted((p for p in row if p > row[label]), reverse=True)
    rank = len(above) + 1
    return {
        "lac": 1 - row[label],
        "aps": sum(above),
        "raps": sum(above) + conformity_scores.PENALTY * max(0, rank - conformity_scores.UNPENALISED),
    }[name]


@pytest.mark.parametrize("name", list(CONFORMITY_SCORES))
def test_sets_are_those_of_crepes(name: str) -> None:
    rng = np.random.default_rng(0)
    (labels, held_out), (_, new) = probabilities(rng, 400), probabilities(rng, 200)
    found = [CONFORMITY_SCORES[name]().scores(rows) for rows in (held_out, new)]
    strange = [np.array([[reference(name, row, k) for k in range(K)] for row in rows]) for rows in (held_out, new)]
    for ours, theirs in zip(found, strange, strict=True):
        np.testing.assert_allclose(1 - ours, theirs, atol=1e-6)
        assert np.array_equal(ours.argmax(axis=1), theirs.argmin(axis=1))
    held_out, new = (scores.astype(float) for scores in found)
    of_true = held_out[np.arange(400), labels]
    # No whole number of images: where it is one, crepes takes a p-value of just 1 - coverage in, which need not be.
    for coverage in (0.517, 0.903, 0.951):
        thresholds = conformal.class_thresholds(labels, of_true, K, coverage)
        chosen = new >= thresholds - 1e-9
        for label in range(K):
            other = ConformalClassifier().fit(1 - of_true[labels == label])
            theirs = other.predict_set(1 - new[:, [label]], confidence=coverage, smoothing=False)
            assert np.array_equal(chosen[:, label], np.asarray(theirs)[:, 0] == 1), (coverage, label)
        sets = conformal.prediction_sets(new, thresholds)
        assert np.array_equal(sets & chosen, chosen)
        assert sets.any(axis=1).all()
        assert (sets.sum(axis=1) == np.maximum(1, chosen.sum(axis=1))).mean() > 0.8


def test_adaptive_sets_are_the_likeliest_classes_up_to_a_share() -> None:
    row = np.array([[0.05, 0.5, 0.25, 0.2]], np.float32)
    aps = CONFORMITY_SCORES["aps"]().scores(row)
    for share, wanted in ((0.4, [1]), (0.6, [1, 2]), (0.9, [1, 2, 3]), (0.99, [0, 1, 2, 3])):
        assert np.flatnonzero(conformal.prediction_sets(aps, np.full(K, 1 - share))).tolist() == wanted
    equal = np.full((1, K), 0.25, np.float32)
    np.testing.assert_allclose(CONFORMITY_SCORES["aps"]().scores(equal), [[1, 0.75, 0.5, 0.25]])
    np.testing.assert_allclose(CONFORMITY_SCORES["raps"]().scores(equal), [[1, 0.74, 0.48, 0.22]])


@pytest.mark.parametrize("name", list(CONFORMITY_SCORES))
def test_every_class_is_covered_as_promised_in_20_draws(name: str) -> None:
    covered, scores = np.zeros((K, 2)), CONFORMITY_SCORES[name]().scores
    for seed in range(20):
        rng = np.random.default_rng(seed)
        (labels, held_out), (truth, new) = probabilities(rng, 600), probabilities(rng, 600)
        of_true = scores(held_out)[np.arange(600), labels].astype(float)
        thresholds = conformal.class_thresholds(labels, of_true, K, 0.9)
        sets = conformal.prediction_sets(scores(new), thresholds)
        for label in range(K):
            here = truth == label
            covered[label] += sets[here, label].sum(), here.sum()
    # The thresholds are drawn as well, with some 150 images of a class each: their spread is as large again.
    for right, count in covered:
        assert binom.cdf(right, count, 0.9 - 3 * np.sqrt(0.09 / (20 * 150))) > 0.001


def test_a_class_with_too_few_images_shares_a_threshold_and_none_at_all_excludes_nothing() -> None:
    rng = np.random.default_rng(1)
    labels, held_out = probabilities(rng, 200)
    of_true = held_out[np.arange(200), labels]
    kept = (labels != 3) | (np.cumsum(labels == 3) <= 5)
    few = conformal.class_thresholds(labels[kept], of_true[kept], K, 0.95)
    pooled = conformal.quantile(1 - of_true[kept], 0.05)
    assert pooled is not None
    assert few[3] == 1 - pooled
    assert few[0] != few[3]
    assert (conformal.class_thresholds(labels[:10], of_true[:10], K, 0.95) == -np.inf).all()


def test_false_alarms_are_as_rare_as_promised_for_each_class_in_200_draws() -> None:
    spread, alarms, images, rate = np.array([1.0, 2.0, 5.0]), np.zeros(3), np.zeros(3), 0.1
    for seed in range(200):
        rng = np.random.default_rng(seed)
        nearest, new = rng.integers(0, 3, 150), rng.integers(0, 3, 150)
        distances = spread[nearest] * rng.gamma(2, size=150)
        found = conformal.novelty_thresholds(distances, nearest, 3, rate)
        novel = spread[new] * rng.gamma(2, size=150) > found.of_class[new]
        alarms += np.bincount(new, novel, 3)
        images += np.bincount(new, minlength=3)
    assert (alarms / images > rate - 0.03).all()
    assert (alarms / images < rate + 0.005).all()  # the one threshold of all gives the last class 0.22


def test_a_class_that_few_images_are_nearest_to_shares_the_threshold_of_all() -> None:
    rng = np.random.default_rng(0)
    distances, nearest = rng.gamma(2, size=118), np.repeat([0, 1], [100, 18])
    found = conformal.novelty_thresholds(distances, nearest, 3, 0.05)
    pooled = conformal.quantile(distances, 0.05)
    assert (found.pooled, found.sharing, found.enough) == (pooled, 2, True)
    assert found.of_class.tolist() == [conformal.quantile(distances[:100], 0.05), pooled, pooled]
    few = conformal.novelty_thresholds(distances[:18], nearest[:18], 3, 0.05, (np.full(9, 99.0), np.zeros(9, int)))
    assert not few.enough
    assert (few.of_class == distances[:18].max()).all()
