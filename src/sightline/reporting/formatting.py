"""Numbers as a person reads them."""

from __future__ import annotations

PERCENT = "\u00a0%"
"""With a space that does not break."""


def share(value: float) -> str:
    """Returns a share as a number of percent with one decimal; never rounds an imperfect one up to 100.

    >>> share(0.5), share(0.9996), share(0.0004), share(1)
    ('50.0', '99.9', '0.1', '100.0')
    """
    if 0 < value < 1:
        value = min(max(value, 0.001), 0.999)
    return f"{100 * value:.1f}"


def percent(value: float) -> str:
    """Returns `share` with its sign."""
    return share(value) + PERCENT


def points(value: float) -> str:
    """Returns a difference of two shares in percentage points, with its sign.

    >>> points(0.0123), points(0)
    ('+1.2', '±0.0')
    """
    said = f"{abs(100 * value):.1f}"
    return ("±" if float(said) == 0 else "+" if value > 0 else "\u2212") + said


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
    r"""Returns a number of bytes in the unit that suits it.

    >>> size(999), size(12_345), size(3_400_000)
    ('999\xa0B', '12\xa0kB', '3.4\xa0MB')
    """
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if number >= factor:
            value = number / factor
            return f"{value:.1f}\u00a0{unit}" if value < 10 else f"{value:.0f}\u00a0{unit}"
    return f"{number}\u00a0B"
