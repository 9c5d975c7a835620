"""Smoothed, stratified bootstrap: intervals of metrics that have no closed formula.

Efron and Tibshirani (1993), "An introduction to the bootstrap", chapters 6 and 16. A resample draws each class's images
with replacement, as many as the class has, because the class balance of a test set is chosen rather than sampled. If a
model made no errors, no plain resample would have any. So in each resample, about `intervals.PSEUDO` predictions in
total are replaced, half of them by correct and half by wrong ones, with the model's own confidence. The interval is the
mean of the resamples plus and minus 1.96 standard deviations, since percentiles are biased near a perfect score.
Results depend only on the seed and on the set of rows, not on their order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sightline.metrics.base import Floats, Interval, Labels, predicted_classes
from sightline.metrics.intervals import PSEUDO, within
from sightline.metrics.ranking import Weights

Ranking = Callable[[Labels, Floats, Weights | None], Floats]
"""Labels [n], probabilities [n, K], weights [R, n] -> values [R, K]."""

RANKING_CELLS = 50_000_000
"""Maximum of images x classes x resamples for ranking metrics, which takes a few seconds."""
LEAST_RANKINGS = 100
_CHUNK_CELLS = 2_000_000


def interval(value: float, resampled: Floats, bounds: Interval) -> Interval:
    """Returns the 95 % interval of a metric with range `bounds` from its resampled values."""
    return within(value, float(resampled.mean()), float(resampled.std()), bounds)


def canonical_order(labels: Labels, probabilities: Floats) -> npt.NDArray[np.intp]:
    """Returns an order of the rows that depends only on their values, sorted by class."""
    return np.lexsort((*probabilities.T, labels))


@dataclass(frozen=True)
class ResamplingPool:
    """Predictions to draw from: the original ones, then a correct version of each, then a wrong version of each.

    Attributes:
        labels: [n] true classes, sorted.
        probabilities: [3n, K]. In the second n rows, the largest probability is swapped with the true class's; in the
            last n rows, the true class's probability is swapped with another class's if the prediction was correct.
    """

    labels: Labels
    probabilities: Floats

    @classmethod
    def of(cls, labels: Labels, probabilities: Floats, seed: int) -> ResamplingPool:
        """Builds the pool from labels [n], sorted, and probabilities [n, K]."""
        n, num_classes = probabilities.shape
        rows, best = np.arange(n), predicted_classes(probabilities)
        others = (labels + np.random.default_rng(seed).integers(1, max(2, num_classes), n)) % num_classes
        right, wrong = probabilities.copy(), probabilities.copy()
        right[rows, labels], right[rows, best] = probabilities[rows, best], probabilities[rows, labels]
        others = np.where(best == labels, others, labels)  # wrong predictions stay as they are
        wrong[rows, labels], wrong[rows, others] = probabilities[rows, others], probabilities[rows, labels]
        return cls(labels, np.concatenate([probabilities, right, wrong]))

    @property
    def all_labels(self) -> Labels:
        """[3n] the true class of each row."""
        return np.tile(self.labels, 3)

    def draw(self, rng: np.random.Generator, resamples: int) -> Iterator[npt.NDArray[np.int64]]:
        """Yields stratified resamples in chunks: row numbers [r, n], below 3n."""
        n = len(self.labels)
        _, starts, counts = np.unique(self.labels, return_index=True, return_counts=True)
        at_once = max(1, _CHUNK_CELLS // n)
        unsure = PSEUDO / (n + PSEUDO)
        for begin in range(0, resamples, at_once):
            size = min(at_once, resamples - begin)
            parts = [rng.integers(s, s + c, size=(size, c)) for s, c in zip(starts, counts, strict=True)]
            rows = np.concatenate(parts, axis=1)
            # Draw the number of replaced predictions and their positions, which is cheaper than a draw per position.
            for row in rows:
                places = rng.choice(n, rng.binomial(n, unsure), replace=False)
                row[places] += n * rng.integers(1, 3, len(places))
            yield rows


def resample_means(pool: ResamplingPool, values: Mapping[str, Floats], seed: int, resamples: int) -> dict[str, Floats]:
    """Returns the means of values [3n], by name, over each resample: [resamples] each."""
    rng = np.random.default_rng(seed)
    parts = [{name: v[rows].mean(axis=1) for name, v in values.items()} for rows in pool.draw(rng, resamples)]
    return {name: np.concatenate([part[name] for part in parts]) for name in values}


def resample_areas(pool: ResamplingPool, seed: int, resamples: int) -> Floats:
    """Returns the areas under the risk-coverage curve of resamples, [resamples]."""
    n = len(pool.labels)
    confidences = pool.probabilities.max(axis=1)
    order = np.argsort(confidences, kind="stable")
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    wrong = (predicted_classes(pool.probabilities) != pool.all_labels)[order].astype(np.float64)
    areas = []
    for rows in pool.draw(np.random.default_rng(seed), resamples):
        ranked = np.sort(rank[rows], axis=1)
        areas.append((np.cumsum(wrong[ranked[:, ::-1]], axis=1) / np.arange(1, n + 1)).mean(axis=1))
    return np.concatenate(areas)


def resample_rankings(pool: ResamplingPool, values: Ranking, seed: int, resamples: int) -> Floats:
    """Returns a ranking metric of each class in each resample, [r, K].

    For large sets with many classes r is smaller than `resamples`; see `RANKING_CELLS`.
    """
    size, num_classes = pool.probabilities.shape
    fewer = min(resamples, max(RANKING_CELLS // (size * num_classes), LEAST_RANKINGS))
    order = np.argsort(pool.all_labels, kind="stable")
    parts = []
    for rows in pool.draw(np.random.default_rng(seed), fewer):
        weights = np.stack([np.bincount(r, minlength=size).astype(np.int32) for r in rows])
        parts.append(values(pool.all_labels[order], pool.probabilities[order], weights[:, order]))
    return np.concatenate(parts)
