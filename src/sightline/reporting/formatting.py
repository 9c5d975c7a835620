"""Formatting of numbers as text."""

from __future__ import annotations

from sightline.core.text import readable_size
from sightline.metrics.base import DIGITS

PERCENT = "\u00a0%"
"""Percent sign with a non-breaking space."""


def score(value: float) -> str:
    """Returns a score with four decimals; computed and stored values (six decimals) give the same text.

    >>> score(0.9969498), score(0.99695)
    ('0.9970', '0.9970')
    """
    return f"{round(value, DIGITS):.4f}"


def share(value: float) -> str:
    """Returns a share in percent with one decimal; values strictly between 0 and 1 are never rounded to 0 or 100.

    >>> share(0.5), share(0.9996), share(0.0004), share(1)
    ('50.0', '99.9', '0.1', '100.0')
    """
    if 0 < value < 1:
        value = min(max(value, 0.001), 0.999)
    return f"{100 * value:.1f}"


def percent(value: float) -> str:
    """Returns `share` with a percent sign."""
    return share(value) + PERCENT


def points(value: float) -> str:
    """Returns a signed difference of two shares in percentage points.

    >>> points(0.0123), points(0)
    ('+1.2', '±0.0')
    """
    digits = f"{abs(100 * value):.1f}"
    return ("±" if float(digits) == 0 else "+" if value > 0 else "\u2212") + digits


def p_value(value: float) -> str:
    r"""Returns a p-value; small ones as a bound.

    >>> p_value(0.0312), p_value(0.4), p_value(1e-9)
    ('0.031', '0.40', '<\xa00.001')
    """
    return "<\u00a00.001" if value < 0.001 else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def grouped(value: float) -> str:
    """Returns a count with thin spaces between thousands."""
    return f"{int(value):,}".replace(",", "\u202f")


def times(count: int) -> str:
    """Returns `once`, `twice` or `<count> times`."""
    return {1: "once", 2: "twice"}.get(count, f"{grouped(count)} times")


def size(number: int) -> str:
    """Returns `readable_size` of a number of bytes, with a non-breaking space."""
    return readable_size(number).replace(" ", "\u00a0")
