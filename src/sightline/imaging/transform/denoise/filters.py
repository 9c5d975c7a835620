"""Denoising by averages and medians of neighbouring pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sightline.imaging.transform.denoise import DENOISE
from sightline.imaging.transform.step import Step, between, odd

if TYPE_CHECKING:
    from sightline.imaging.transform.ops import Pixels


@DENOISE.register("median")
@dataclass
class Median(Step):
    """Replaces each pixel by the median of the square around it: removes salt-and-pepper noise and keeps edges.

    Source: Tukey, Exploratory Data Analysis, 1977; Gonzalez and Woods, Digital Image Processing, section 5.3.

    Attributes:
        kernel_size: Side of the square in pixels, odd, 3..31.
    """

    kernel_size: int

    def __post_init__(self) -> None:
        odd("kernel_size", self.kernel_size, 3, 31)

    def __call__(self, image: Pixels) -> Pixels:
        """Returns the denoised image, [h, w, c] uint8."""
        import cv2

        from sightline.imaging.transform.ops import with_channels

        return with_channels(cv2.medianBlur(image, self.kernel_size))


@DENOISE.register("gaussian")
@dataclass
class Gaussian(Step):
    """Weights neighbours by a normal distribution: removes mild noise of any kind, but blurs edges.

    Source: Gonzalez and Woods, Digital Image Processing, section 3.5.

    Attributes:
        sigma: Standard deviation in pixels, 0.1..20.
    """

    sigma: float

    def __post_init__(self) -> None:
        between("sigma", self.sigma, 0.1, 20)

    def __call__(self, image: Pixels) -> Pixels:
        """Returns the denoised image, [h, w, c] uint8."""
        from sightline.imaging.transform.ops import gaussian_blur

        return gaussian_blur(image, self.sigma)


@DENOISE.register("bilateral")
@dataclass
class Bilateral(Step):
    """Averages nearby pixels of similar colour: removes mild noise and keeps edges; fast.

    Source: Tomasi and Manduchi, Bilateral filtering for gray and color images, ICCV 1998.

    Attributes:
        diameter: Diameter of the neighbourhood in pixels, odd, 3..25.
        sigma_color: Scale of similarity, in grey levels, 1..200; about twice the noise's standard deviation.
        sigma_space: Scale of nearness, in pixels, 0.1..50.
    """

    diameter: int
    sigma_color: float
    sigma_space: float

    def __post_init__(self) -> None:
        odd("diameter", self.diameter, 3, 25)
        between("sigma_color", self.sigma_color, 1, 200)
        between("sigma_space", self.sigma_space, 0.1, 50)

    def __call__(self, image: Pixels) -> Pixels:
        """Returns the denoised image, [h, w, c] uint8."""
        import cv2

        from sightline.imaging.transform.ops import with_channels

        return with_channels(cv2.bilateralFilter(image, self.diameter, self.sigma_color, self.sigma_space))
