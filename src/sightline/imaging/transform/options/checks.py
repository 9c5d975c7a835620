"""Range checks that the options share."""

from __future__ import annotations

from sightline.config.schema import require


def between(field: str, value: float, low: float, high: float) -> None:
    """Raises ValueError unless `value` is in low..high, both included."""
    require(low <= value <= high, f"{field}: {value} is not in {low}..{high}")


def odd(field: str, value: int, low: int, high: int) -> None:
    """Raises ValueError unless `value` is odd and in low..high."""
    between(field, value, low, high)
    require(value % 2 == 1, f"{field}: {value} is not odd")
