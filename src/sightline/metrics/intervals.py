"""95 % intervals of proportions and means.

With few images, or if all or none are predicted correctly, the observed spread is a poor estimate, and an interval
based on it alone is too narrow or a single point. All intervals here therefore add `PSEUDO` images, half of them with
the best and half with the worst possible result, as Wilson's interval does for a proportion (Agresti and Coull 1998,
"Approximate is better than exact for interval estimation of binomial proportions").
"""

from __future__ import annotations

import math

from sightline.metrics.base import Floats, Interval

Z = 1.959963984540054
"""The normal distribution's 97.5 % quantile."""

PSEUDO = Z * Z
"""Number of added images, 3.84: with them, the accuracy is the centre of Wilson's interval."""


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
    # At the ends the formula gives 0 and 1 except for rounding.
    return (0.0 if hits == 0 else centre - half), (1.0 if hits == trials else centre + half)


def within(value: float, centre: float, deviation: float, bounds: Interval) -> Interval:
    """Returns `centre` plus and minus 1.96 standard deviations, clipped to `bounds` and widened to include `value`."""
    low, high = max(centre - Z * deviation, bounds[0]), min(centre + Z * deviation, bounds[1])
    return min(low, value), max(high, value)


def mean(values: Floats, bounds: Interval = (0.0, 1.0)) -> Interval:
    """Returns the 95 % interval of the mean of values [n >= 1] with range `bounds`.

    >>> import numpy as np
    >>> [round(bound, 4) for bound in mean(np.ones(28))]
    [0.857, 1.0]
    """
    low, high = bounds
    n = len(values) + PSEUDO
    centre = (float(values.sum()) + PSEUDO * (low + high) / 2) / n
    squares = float(((values - centre) ** 2).sum()) + PSEUDO / 2 * ((low - centre) ** 2 + (high - centre) ** 2)
    return within(float(values.mean()), centre, math.sqrt(squares) / n, bounds)
