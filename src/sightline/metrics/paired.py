"""Paired comparison of two models on the same images: McNemar's test, and an interval of the difference."""

from __future__ import annotations

import math

from scipy.special import bdtr

from sightline.metrics.base import Bools
from sightline.metrics.intervals import Z


def mcnemar(correct_a: Bools, correct_b: Bools) -> float:
    """Returns the exact two-sided p-value of McNemar's test that two models err equally often.

    Only images on which exactly one model is correct matter: under the hypothesis, each is a fair coin. McNemar (1947),
    "Note on the sampling error of the difference between correlated proportions or percentages"; the exact, binomial
    form.

    Args:
        correct_a: [n] whether the first model is correct on each image.
        correct_b: [n] the same for the second model.

    Returns:
        A value in (0, 1]; 1 if the models differ nowhere.

    Raises:
        ValueError: If the lengths differ.

    >>> import numpy as np
    >>> round(mcnemar(np.array([True] * 8 + [False]), np.array([False] * 8 + [True])), 4)
    0.0391
    """
    _check(correct_a, correct_b)
    only_a, only_b = int((correct_a & ~correct_b).sum()), int((correct_b & ~correct_a).sum())
    return min(1.0, 2 * float(bdtr(min(only_a, only_b), only_a + only_b, 0.5)))


def difference(correct_a: Bools, correct_b: Bools) -> tuple[float, float, float]:
    """Returns the first model's accuracy minus the second's, with its 95 % score interval.

    Tango (1998), "Equivalence test and confidence interval for the difference in proportions for the paired-sample
    design", Statistics in Medicine 17: all differences that the score test does not reject. It is the paired
    counterpart of Wilson's interval, and is valid for few images and for models that differ on few or none of them: in
    the latter case it ranges from -z²/(n + z²) to z²/(n + z²), whereas a bootstrap would have no spread.

    Args:
        correct_a: [n] whether the first model is correct on each image, n >= 1.
        correct_b: [n] the same for the second model.

    Returns:
        Difference, lower and upper bound, in -1..1.

    Raises:
        ValueError: If the lengths differ, or there is no image.

    >>> import numpy as np
    >>> [round(value, 4) for value in difference(np.ones(28, bool), np.ones(28, bool))]
    [0.0, -0.1206, 0.1206]
    """
    _check(correct_a, correct_b)
    n = len(correct_a)
    if not n:
        raise ValueError("there are no images to compare two models on")
    only_a, only_b = int((correct_a & ~correct_b).sum()), int((correct_b & ~correct_a).sum())
    # The lower bound is the negated upper bound with the models swapped.
    return (only_a - only_b) / n, -_upper(only_b, only_a, n), _upper(only_a, only_b, n)


def largest_loss(n: int) -> float:
    """Returns the largest true loss of accuracy that is compatible with two models agreeing on n images."""
    return Z * Z / (n + Z * Z)


def _upper(only_a: int, only_b: int, n: int) -> float:
    """Returns the largest difference that the score test does not reject, found by bisection."""
    if only_a == n:
        return 1.0

    def refused(d: float) -> bool:
        """Returns whether the test rejects the difference d as too large."""
        b = (2 * n - only_a + only_b) * d - only_a - only_b
        share = (math.sqrt(b * b + 8 * n * only_b * d * (1 - d)) - b) / (4 * n)  # most likely share of only_b, given d
        return only_a - only_b - n * d < -Z * math.sqrt(max(0.0, n * (2 * share + d * (1 - d))))

    low, high = (only_a - only_b) / n, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if refused(middle) else (middle, high)
    return high


def _check(correct_a: Bools, correct_b: Bools) -> None:
    if correct_a.shape != correct_b.shape or correct_a.ndim != 1:
        raise ValueError(f"answers of shapes {correct_a.shape} and {correct_b.shape} are not of the same images")
