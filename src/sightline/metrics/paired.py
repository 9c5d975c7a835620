"""Two models on the same images: is one better, and by how much?"""

from __future__ import annotations

import numpy as np
from scipy.special import bdtr

from sightline.metrics.base import Bools, Labels

RESAMPLES = 10_000


def mcnemar(correct_a: Bools, correct_b: Bools) -> float:
    """Returns the exact two-sided p-value of McNemar's test that two models err equally often.

    Only images on which the models differ tell: under the hypothesis, each is a fair coin. McNemar (1947), "Note on
    the sampling error of the difference between correlated proportions or percentages"; the exact, binomial form.

    Args:
        correct_a: [n] whether the first model was right on each image.
        correct_b: The same of the second.

    Returns:
        In (0, 1]; 1 where the models differ nowhere.

    Raises:
        ValueError: If the lengths differ.

    >>> round(mcnemar(np.array([True] * 8 + [False]), np.array([False] * 8 + [True])), 4)
    0.0391
    """
    _check(correct_a, correct_b)
    only_a, only_b = int((correct_a & ~correct_b).sum()), int((correct_b & ~correct_a).sum())
    return min(1.0, 2 * float(bdtr(min(only_a, only_b), only_a + only_b, 0.5)))


def bootstrap_difference(
    labels: Labels, correct_a: Bools, correct_b: Bools, seed: int, resamples: int = RESAMPLES
) -> tuple[float, float, float]:
    """Returns the first model's accuracy minus the second's, with its 95 % interval.

    A resample draws each class's images with replacement, for both models the same ones (Efron and Tibshirani (1993),
    "An introduction to the bootstrap"; percentiles). An image counts 1, 0 or -1, so that a resample of a class is a
    draw of three counts.

    Args:
        labels: [n] true classes, n >= 1.
        correct_a: [n] whether the first model was right on each image.
        correct_b: The same of the second.
        seed: The interval is a function of it.
        resamples: How many.

    Returns:
        Difference, lower and upper bound, in -1..1.

    Raises:
        ValueError: If the lengths differ, or there is no image.
    """
    _check(correct_a, correct_b)
    if len(labels) != len(correct_a) or not len(labels):
        raise ValueError(f"{len(labels)} labels for {len(correct_a)} answers")
    rng = np.random.default_rng(seed)
    gain = correct_a.astype(np.int64) - correct_b
    total = np.zeros(resamples)
    for label in np.unique(labels):
        here = gain[labels == label]
        shares = np.array([(here == 1).mean(), (here == 0).mean(), (here == -1).mean()])
        drawn = rng.multinomial(len(here), shares / shares.sum(), size=resamples)
        total += drawn[:, 0] - drawn[:, 2]
    low, high = np.percentile(total / len(labels), [2.5, 97.5])
    return float(gain.mean()), float(low), float(high)


def _check(correct_a: Bools, correct_b: Bools) -> None:
    if correct_a.shape != correct_b.shape or correct_a.ndim != 1:
        raise ValueError(f"answers of shapes {correct_a.shape} and {correct_b.shape} are not of the same images")
