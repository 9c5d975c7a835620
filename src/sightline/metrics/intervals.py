"""95 % intervals of proportions and means.

Where few images, or all or none of them, are answered right, the images say little of how the answers vary, and an
interval made of them alone is too narrow, or a point. Each of these takes `PSEUDO` images more into account, half of
them answered perfectly and half as badly as can be: what Wilson's interval does for one proportion (Agresti and Coull
1998, "Approximate is better than exact for interval estimation of binomial proportions").
"""

from __future__ import annotations

import math

from sightline.metrics.base import Floats, Interval

Z = 1.959963984540054
"""The normal distribution's 97.5 % quantile."""

PSEUDO = Z * Z
"""Images that are added, 3.84: the weight that makes the middle of Wilson's interval the accuracy."""


def wilson(hits: float, trials: float) -> Interval:
    """Returns the 95 % Wilson score interval of a proportion; (0, 1) without trials.

    Wilson (1927), "Probable inference, the law of succession, and statistical inference". Unlike the textbook
    `p ± 1.96·sqrt(p(1-p)/n)` it is sound for few trials and for proportions near 0 or 1.

    >>> [round(bound, 4) for bound in wilson(9, 10)]
    [0.5958, 0.9821]
    """
    if trials == 0:
        return 0.0, 1.0
    p, spread = hits / trials, Z * Z / trials
    centre = (p + spread / 2) / (1 + spread)
    half = Z * math.sqrt(p * (1 - p) / trials + spread / (4 * trials)) / (1 + spread)
    # At the ends the formula gives exactly 0 and 1, but for rounding.
    return (0.0 if hits == 0 else centre - half), (1.0 if hits == trials else centre + half)


def within(value: float, centre: float, deviation: float, bounds: Interval) -> Interval:
    """Returns `centre` plus and minus 1.96 standard deviations, in the number's range, widened to hold its value."""
    low, high = max(centre - Z * deviation, bounds[0]), min(centre + Z * deviation, bounds[1])
    return min(low, value), max(high, value)


def mean(values: Floats, bounds: Interval = (0.0, 1.0)) -> Interval:
    """Returns the 95 % interval of the mean of numbers that lie in `bounds`, [n >= 1].

    >>> import numpy as np
    >>> [round(bound, 4) for bound in mean(np.ones(28))]
    [0.8564, 1.0]
    """
    low, high = bounds
    n = len(values) + PSEUDO
    centre = (float(values.sum()) + PSEUDO * (low + high) / 2) / n
    squares = float(((values - centre) ** 2).sum()) + PSEUDO / 2 * ((low - centre) ** 2 + (high - centre) ** 2)
    return within(float(values.mean()), centre, math.sqrt(squares) / n, bounds)
