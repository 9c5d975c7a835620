"""The base class of the transform's steps, and the range checks that their options share.

An option of a step is one class: its fields, their ranges, its documentation and its implementation (`__call__`).
Importing the class is cheap, because a configuration is checked against it before any work starts: OpenCV and NumPy are
imported only when a step runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sightline.config.schema import Option, require

if TYPE_CHECKING:
    from sightline.imaging.transform.ops import Pixels


@dataclass
class Step(Option):
    """Base class of steps from image to image. Lengths are in pixels, levels in 0..255, fractions in 0..1."""

    def __call__(self, image: Pixels) -> Pixels:
        """Returns the changed image, [h, w, c] uint8.

        Args:
            image: [h, w, c] uint8, with 1 channel (grey) or 3 (red, green, blue); never modified.

        Raises:
            RejectionError: If the option rejects the image.
        """
        raise NotImplementedError


@dataclass
class Nothing(Step):
    """Leaves the image unchanged."""

    def __call__(self, image: Pixels) -> Pixels:
        """Returns the image itself."""
        return image


def between(field: str, value: float, low: float, high: float) -> None:
    """Raises ValueError unless `value` is in low..high, inclusive."""
    require(low <= value <= high, f"{field}: {value} is not in {low}..{high}")


def odd(field: str, value: int, low: int, high: int) -> None:
    """Raises ValueError unless `value` is odd and in low..high."""
    between(field, value, low, high)
    require(value % 2 == 1, f"{field}: {value} is not odd")
