"""Segmentation by a threshold on the luminance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sightline.config.schema import require_one_of
from sightline.imaging.transform.segment import SEGMENT, SIDES, Foreground
from sightline.imaging.transform.step import between, odd

if TYPE_CHECKING:
    from sightline.imaging.transform.masks import Mask
    from sightline.imaging.transform.ops import Pixels


@SEGMENT.register("threshold")
@dataclass
class Threshold(Foreground):
    """Splits the luminance at one level: for an object on an evenly lit, plain background.

    Source: Otsu, A threshold selection method from gray-level histograms, 1979; Zack, Rogers and Latt, Automatic
    measurement of sister chromatid exchange frequency, 1977 (triangle).

    Attributes:
        method: "otsu" for two peaks in the histogram, "triangle" for one peak and a tail, "fixed" for `level`.
        level: Grey level, 0..254; brighter pixels are on the bright side; for "fixed" only.
        foreground: "bright", "dark", or "auto" for the side with fewer pixels on the border.
    """

    method: str
    level: int
    foreground: str

    def __post_init__(self) -> None:
        super().__post_init__()
        require_one_of("method", self.method, ("fixed", "otsu", "triangle"))
        between("level", self.level, 0, 254)
        require_one_of("foreground", self.foreground, SIDES)

    def find(self, image: Pixels) -> Mask:
        """Returns the mask of the foreground, [h, w] bool."""
        import cv2

        from sightline.imaging.transform.masks import side_of
        from sightline.imaging.transform.ops import luminance

        grey = luminance(image)
        kind = {"fixed": cv2.THRESH_BINARY, "otsu": cv2.THRESH_OTSU, "triangle": cv2.THRESH_TRIANGLE}[self.method]
        level, _ = cv2.threshold(grey, self.level, 255, kind)
        return side_of(grey > level, self.foreground)


@SEGMENT.register("adaptive")
@dataclass
class Adaptive(Foreground):
    """Compares each pixel with the weighted mean around it: for text and line art under uneven light.

    Source: Gonzalez and Woods, Digital Image Processing, section 10.3 (variable thresholding).

    Attributes:
        block_size: Side of the neighbourhood in pixels, odd, 3..255; wider than a stroke.
        offset: Grey levels below the mean at which a pixel is still bright, -100..100.
        foreground: See `Threshold`.
    """

    block_size: int
    offset: int
    foreground: str

    def __post_init__(self) -> None:
        super().__post_init__()
        odd("block_size", self.block_size, 3, 255)
        between("offset", self.offset, -100, 100)
        require_one_of("foreground", self.foreground, SIDES)

    def find(self, image: Pixels) -> Mask:
        """Returns the mask of the foreground, [h, w] bool."""
        import cv2
        import numpy as np

        from sightline.imaging.transform.masks import side_of
        from sightline.imaging.transform.ops import luminance

        bright = cv2.adaptiveThreshold(
            luminance(image), 255, cv2.ADAPTIVE_THRESH_GAUSSIAN_C, cv2.THRESH_BINARY, self.block_size, self.offset
        )
        return side_of(np.asarray(bright, np.bool_), self.foreground)
