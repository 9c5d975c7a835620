"""How far a number can be trusted: 95 % intervals."""

from __future__ import annotations

import math

from sightline.metrics.base import Interval

Z = 1.959963984540054
"""The normal distribution's 97.5 % quantile."""


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
