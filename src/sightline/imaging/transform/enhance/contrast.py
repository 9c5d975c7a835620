"""Contrast: mappings of the luminance, for the whole image or for tiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sightline.imaging.transform.enhance import ENHANCE
from sightline.imaging.transform.step import Step, between

if TYPE_CHECKING:
    from sightline.imaging.transform.ops import Pixels


@ENHANCE.register("autocontrast")
@dataclass
class AutoContrast(Step):
    """Stretches the luminance to 0..255: for dull images, whose darkest pixels are not black.

    Source: Gonzalez and Woods, Digital Image Processing, section 3.2 (contrast stretching).

    Attributes:
        cutoff: Fraction of pixels to clip at each end, 0..0.4.
    """

    cutoff: float

    def __post_init__(self) -> None:
        between("cutoff", self.cutoff, 0, 0.4)

    def __call__(self, image: Pixels) -> Pixels:
        """Returns the enhanced image, [h, w, c] uint8."""
        import numpy as np

        from sightline.imaging.transform.ops import luminance, mapped

        reached = np.cumsum(np.bincount(luminance(image).reshape(-1), minlength=256))
        drop = int(self.cutoff * reached[-1])
        low = int(np.searchsorted(reached, drop, side="right"))
        high = int(np.searchsorted(reached, reached[-1] - drop, side="left"))
        if high <= low:
            return image
        return mapped(image, (np.arange(256) - low) * (255 / (high - low)))


@ENHANCE.register("equalize")
@dataclass
class Equalize(Step):
    """Spreads the luminance so that all levels are equally frequent: maximum contrast, but the least natural look.

    Source: Gonzalez and Woods, Digital Image Processing, section 3.3.
    """

    def __call__(self, image: Pixels) -> Pixels:
        """Returns the enhanced image, [h, w, c] uint8."""
        import cv2

        from sightline.imaging.transform.ops import on_lightness

        return on_lightness(image, cv2.equalizeHist)


@ENHANCE.register("clahe")
@dataclass
class Clahe(Step):
    """Equalizes the histogram tile by tile with limited contrast: brings out local contrast under uneven light.

    Source: Zuiderveld, Contrast Limited Adaptive Histogram Equalization, Graphics Gems IV, 1994.

    Attributes:
        clip_limit: Maximum slope of the mapping, as a multiple of the uniform histogram's, 1..40.
        tiles: Tiles along each side, 1..64; fewer if the image has fewer pixels.
    """

    clip_limit: float
    tiles: int

    def __post_init__(self) -> None:
        between("clip_limit", self.clip_limit, 1, 40)
        between("tiles", self.tiles, 1, 64)

    def __call__(self, image: Pixels) -> Pixels:
        """Returns the enhanced image, [h, w, c] uint8."""
        import cv2

        from sightline.imaging.transform.ops import on_lightness

        tiles = (min(self.tiles, image.shape[1]), min(self.tiles, image.shape[0]))
        return on_lightness(image, cv2.createCLAHE(self.clip_limit, tiles).apply)


@ENHANCE.register("gamma")
@dataclass
class Gamma(Step):
    """Raises each channel to a power: brightens (below 1) or darkens (above 1) the mid-tones; black and white stay.

    Source: Gonzalez and Woods, Digital Image Processing, section 3.2 (power-law transformation).

    Attributes:
        gamma: The exponent, 0.1..10.
    """

    gamma: float

    def __post_init__(self) -> None:
        between("gamma", self.gamma, 0.1, 10)

    def __call__(self, image: Pixels) -> Pixels:
        """Returns the enhanced image, [h, w, c] uint8."""
        import numpy as np

        from sightline.imaging.transform.ops import mapped

        return mapped(image, 255 * (np.arange(256) / 255) ** self.gamma)
