"""Tests of whether two samples come from the same distribution, using only NumPy."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_TERMS = 101
PERMUTATIONS = 1999


def kolmogorov_smirnov(a: npt.NDArray[np.floating], b: npt.NDArray[np.floating]) -> tuple[float, float]:
    """Returns the two-sample Kolmogorov-Smirnov statistic and its p-value.

    The statistic is the largest difference of the two empirical distribution functions, 0 to 1. The p-value is the
    asymptotic one with Stephens' correction for small samples (Press et al., "Numerical recipes", 3rd edition, section
    14.3.3); with ties among the values, such as sizes in pixels, it is conservative.

    Args:
        a: [n >= 1] values.
        b: [m >= 1] values.

    >>> import numpy as np
    >>> [round(x, 3) for x in kolmogorov_smirnov(np.arange(50.0), np.arange(50.0) + 25)]
    [0.5, 0.0]
    """
    values = np.concatenate([a, b])
    below = [np.searchsorted(np.sort(part), values, side="right") / len(part) for part in (a, b)]
    statistic = float(np.abs(below[0] - below[1]).max())
    root = math.sqrt(len(a) * len(b) / (len(a) + len(b)))
    scaled = (root + 0.12 + 0.11 / root) * statistic
    if scaled < 0.2:  # the series converges slowly here, and the value is 1 to twelve digits
        return statistic, 1.0
    k = np.arange(1, _TERMS)
    p = 2 * float(((-1.0) ** (k - 1) * np.exp(-2 * (k * scaled) ** 2)).sum())
    return statistic, min(max(p, 0.0), 1.0)


def class_shift(
    a: npt.NDArray[np.integer], b: npt.NDArray[np.integer], num_classes: int, seed: int = 0
) -> tuple[float, float]:
    """Returns the total variation distance of two samples of classes, and the p-value of a permutation test of it.

    The distance is half the sum of the absolute differences of the class shares, 0 to 1. The test is valid for any
    number of images: both samples are pooled and drawn again (Good, "Permutation, parametric and bootstrap tests").

    Args:
        a: [n >= 1] class indices.
        b: [m >= 1] class indices.
        num_classes: K, larger than every index.
        seed: Seed of the permutations.
    """
    counts_a, counts_b = (np.bincount(part, minlength=num_classes) for part in (a, b))
    distance = _variation(counts_a[None], counts_b[None])[0]
    rng = np.random.default_rng(seed)
    drawn = rng.multivariate_hypergeometric(counts_a + counts_b, len(a), size=PERMUTATIONS)
    others = _variation(drawn, (counts_a + counts_b)[None] - drawn)
    return float(distance), float((1 + (others >= distance - 1e-12).sum()) / (1 + PERMUTATIONS))


def _variation(a: npt.NDArray[np.integer], b: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
    shares = [part / part.sum(axis=1, keepdims=True) for part in (a, b)]
    distance: npt.NDArray[np.float64] = np.abs(shares[0] - shares[1]).sum(axis=1) / 2
    return distance


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns p-values corrected for multiple testing: the chance of any false alarm below alpha is at most alpha.

    Holm (1979), "A simple sequentially rejective multiple test procedure".

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = largest
    return corrected
