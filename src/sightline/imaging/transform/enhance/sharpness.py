"""Sharpening."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sightline.imaging.transform.enhance import ENHANCE
from sightline.imaging.transform.step import Step, between

if TYPE_CHECKING:
    from sightline.imaging.transform.ops import Pixels


@ENHANCE.register("unsharp")
@dataclass
class Unsharp(Step):
    """Adds the detail that a blur removes: sharpens soft images, and their noise as well.

    Source: Gonzalez and Woods, Digital Image Processing, section 3.6 (unsharp masking).

    Attributes:
        sigma: Standard deviation of the blur in pixels, 0.1..20: the size of the details to sharpen.
        amount: Fraction of the difference that is added, 0..5.
        threshold: Grey levels, 0..255; smaller differences are ignored, so that noise is not sharpened.
    """

    sigma: float
    amount: float
    threshold: int

    def __post_init__(self) -> None:
        between("sigma", self.sigma, 0.1, 20)
        between("amount", self.amount, 0, 5)
        between("threshold", self.threshold, 0, 255)

    def __call__(self, image: Pixels) -> Pixels:
        """Returns the enhanced image, [h, w, c] uint8."""
        import numpy as np

        from sightline.imaging.transform.ops import gaussian_blur

        detail = image.astype(np.float32) - gaussian_blur(image, self.sigma)
        detail[np.abs(detail) < self.threshold] = 0
        return np.clip(np.rint(image + self.amount * detail), 0, 255).astype(np.uint8)
