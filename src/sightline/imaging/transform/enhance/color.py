"""Colour correction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sightline.imaging.transform.enhance import ENHANCE
from sightline.imaging.transform.step import Step, between

if TYPE_CHECKING:
    from sightline.imaging.transform.ops import Pixels


@ENHANCE.register("white_balance")
@dataclass
class WhiteBalance(Step):
    """Scales the channels to equal means (grey world): removes a colour cast; wrong if one colour fills the image.

    Source: Buchsbaum, A spatial processor model for object colour perception, J. Franklin Institute 310, 1980.

    Attributes:
        max_gain: Largest factor for a channel; its inverse is the smallest, 1..16.
    """

    max_gain: float

    def __post_init__(self) -> None:
        between("max_gain", self.max_gain, 1, 16)

    def __call__(self, image: Pixels) -> Pixels:
        """Returns the enhanced image, [h, w, c] uint8."""
        import numpy as np

        from sightline.imaging.transform.ops import mapped

        if image.shape[2] == 1:
            return image
        means = image.mean(axis=(0, 1), dtype=np.float64)
        gains = np.clip(means.mean() / np.maximum(means, 1e-9), 1 / self.max_gain, self.max_gain)
        return mapped(image, np.arange(256)[:, None] * gains)
