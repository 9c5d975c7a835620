"""Intervals of numbers that have no formula for one: the stratified percentile bootstrap.

Efron and Tibshirani (1993), "An introduction to the bootstrap", chapter 13. A resample draws each class's images with
replacement, as many as the class has: the class balance of a test set is chosen, not sampled. An interval is widened
to hold its number, which the percentiles of a biased one (calibration error) need not. It is a function of the seed
and of the set of rows, not of their order. Where a model makes no error, no resample has one, and the interval has no
width: Wilson's, of the accuracy, says what so few images can show.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from sightline.metrics import calibration, ranking
from sightline.metrics.base import Floats, Interval, Labels

RANKING_CELLS = 50_000_000
"""Ranking looks at images x classes x resamples so many, at most: in some seconds."""
LEAST_RANKINGS = 100
_CHUNK_CELLS = 2_000_000


def percentile_interval(value: float, resampled: Floats) -> Interval:
    """Returns the 95 % percentile interval, widened to hold the value."""
    low, high = np.percentile(resampled, [2.5, 97.5])
    return min(float(low), value), max(float(high), value)


def canonical_order(labels: Labels, probabilities: Floats) -> npt.NDArray[np.intp]:
    """Returns an order of the rows that depends on what they hold alone, sorted by class."""
    return np.lexsort((*probabilities.T, labels))


def draw(labels: Labels, rng: np.random.Generator, resamples: int) -> Iterator[npt.NDArray[np.int64]]:
    """Yields stratified resamples, some at a time: row numbers [r, n].

    Args:
        labels: [n] sorted true classes.
        rng: Where the draws come from.
        resamples: How many in all.
    """
    _, starts, counts = np.unique(labels, return_index=True, return_counts=True)
    at_once = max(1, _CHUNK_CELLS // len(labels))
    for begin in range(0, resamples, at_once):
        size = min(at_once, resamples - begin)
        parts = [rng.integers(s, s + c, size=(size, c)) for s, c in zip(starts, counts, strict=True)]
        yield np.concatenate(parts, axis=1)


def resample_means(labels: Labels, values: Mapping[str, Floats], seed: int, resamples: int) -> dict[str, Floats]:
    """Returns the means of values [n], by name, in stratified resamples: [resamples] each, for rows sorted by class."""
    rng = np.random.default_rng(seed)
    parts = [{name: v[rows].mean(axis=1) for name, v in values.items()} for rows in draw(labels, rng, resamples)]
    return {name: np.concatenate([part[name] for part in parts]) for name in values}


def resample_confidences(
    labels: Labels, confidences: Floats, correct: npt.NDArray[np.bool_], seed: int, resamples: int
) -> tuple[Floats, Floats]:
    """Returns calibration errors and areas under the risk-coverage curve in stratified resamples, [resamples] each.

    Args:
        labels: [n] true classes, sorted.
        confidences: [n] probabilities of the predicted classes.
        correct: [n] whether they were right.
        seed: All draws are a function of it.
        resamples: How many.
    """
    n = len(labels)
    order = np.argsort(confidences, kind="stable")
    rank = np.empty(n, np.int32)
    rank[order] = np.arange(n, dtype=np.int32)
    gap = (correct - confidences)[order]  # the error of a bin is the mean of this
    wrong = (~correct[order]).astype(np.float64)
    starts = [int(part[0]) for part in np.array_split(np.arange(n), min(calibration.BINS, n))]
    errors, areas = [], []
    for rows in draw(labels, np.random.default_rng(seed), resamples):
        ranked = np.sort(rank[rows], axis=1)
        errors.append(np.abs(np.add.reduceat(gap[ranked], starts, axis=1)).sum(axis=1) / n)
        areas.append((np.cumsum(wrong[ranked[:, ::-1]], axis=1) / np.arange(1, n + 1)).mean(axis=1))
    return np.concatenate(errors), np.concatenate(areas)


def resample_rankings(labels: Labels, probabilities: Floats, seed: int, resamples: int) -> tuple[Floats, Floats]:
    """Returns `ranking.one_vs_rest` of stratified resamples, [r, K] each, for rows sorted by class.

    Of large sets with many classes there are fewer than `resamples`; see `RANKING_CELLS`.
    """
    n, num_classes = probabilities.shape
    fewer = min(resamples, max(RANKING_CELLS // (n * num_classes), LEAST_RANKINGS))
    parts = []
    for rows in draw(labels, np.random.default_rng(seed), fewer):
        weights = np.stack([np.bincount(r, minlength=n).astype(np.int32) for r in rows])
        parts.append(ranking.one_vs_rest(labels, probabilities, weights))
    areas, average_precisions = zip(*parts, strict=True)
    return np.concatenate(areas), np.concatenate(average_precisions)
