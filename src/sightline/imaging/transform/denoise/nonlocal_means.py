"""Denoising by non-local means, with a given or an estimated strength."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sightline.imaging.transform.denoise import DENOISE
from sightline.imaging.transform.step import Step, between, odd

if TYPE_CHECKING:
    from sightline.imaging.transform.ops import Pixels

MAD_TO_SIGMA = 0.6745
"""Median of |x| for a standard normal x."""

_STRIP = 8192  # columns


@DENOISE.register("nonlocal_means")
@dataclass
class NonLocalMeans(Step):
    """Averages pixels with similar surroundings: the best option for noise of known strength; slow.

    Source: Buades, Coll and Morel, A non-local algorithm for image denoising, CVPR 2005.

    Attributes:
        strength: Grey levels, 1..100; about 1.2 times the noise's standard deviation.
        patch_size: Side of the compared surroundings, in pixels, odd, 3..15.
        search_size: Side of the search window, in pixels, odd, 5..41; cost grows with its square.
    """

    strength: float
    patch_size: int
    search_size: int

    def __post_init__(self) -> None:
        between("strength", self.strength, 1, 100)
        odd("patch_size", self.patch_size, 3, 15)
        odd("search_size", self.search_size, 5, 41)

    def __call__(self, image: Pixels) -> Pixels:
        """Returns the denoised image, [h, w, c] uint8."""
        return _nonlocal_means(image, self.strength, self.patch_size, self.search_size)


@DENOISE.register("auto")
@dataclass
class AutoDenoise(Step):
    """Estimates the noise of each image and removes it by non-local means: for datasets of mixed quality.

    Source: Donoho and Johnstone, Ideal spatial adaptation by wavelet shrinkage, Biometrika 81, 1994 (the estimate).

    Attributes:
        min_sigma: Grey levels, 0..50; an image with less estimated noise stays unchanged.
        strength: Strength of the non-local means, as a multiple of the estimated standard deviation, 0.1..5.
        patch_size: See `NonLocalMeans`.
        search_size: See `NonLocalMeans`.
    """

    min_sigma: float
    strength: float
    patch_size: int
    search_size: int

    def __post_init__(self) -> None:
        between("min_sigma", self.min_sigma, 0, 50)
        between("strength", self.strength, 0.1, 5)
        odd("patch_size", self.patch_size, 3, 15)
        odd("search_size", self.search_size, 5, 41)

    def __call__(self, image: Pixels) -> Pixels:
        """Returns the denoised image, [h, w, c] uint8."""
        sigma = estimate_noise(image)
        if sigma == 0 or sigma < self.min_sigma:
            return image
        return _nonlocal_means(image, self.strength * sigma, self.patch_size, self.search_size)


def estimate_noise(image: Pixels) -> float:
    """Estimates the standard deviation of the noise, in grey levels; 0 for images smaller than 2x2.

    The median absolute diagonal detail of the finest Haar wavelet level, over all channels, divided by 0.6745: it
    contains few edges but all of the noise (Donoho and Johnstone, Biometrika 81, 1994).
    """
    import numpy as np

    height, width = image.shape[0] // 2 * 2, image.shape[1] // 2 * 2
    if not height or not width:
        return 0.0
    levels = image[:height, :width].astype(np.int16)
    diagonal = levels[::2, ::2] - levels[1::2, ::2] - levels[::2, 1::2] + levels[1::2, 1::2]
    return float(np.median(np.abs(diagonal))) / 2 / MAD_TO_SIGMA


def _nonlocal_means(image: Pixels, strength: float, patch_size: int, search_size: int) -> Pixels:
    import cv2
    import numpy as np

    from sightline.imaging.transform.ops import with_channels

    # In strips: OpenCV needs 4 bytes for each column and each position of the search window, 2 KB per pixel of an image
    # one pixel high. A strip includes everything that its pixels are compared with, so no bit of the result differs.
    reach = patch_size // 2 + search_size // 2
    out = np.empty_like(image)
    for left in range(0, image.shape[1], _STRIP):
        begin, end = max(0, left - reach), left + _STRIP + reach
        strip = np.ascontiguousarray(image[:, begin:end])
        # All three channels at once: OpenCV's variant for colour goes through 8-bit Lab and loses 0.6 to 1.5 dB.
        done = with_channels(cv2.fastNlMeansDenoising(strip, None, strength, patch_size, search_size))
        out[:, left : left + _STRIP] = done[:, left - begin :][:, :_STRIP]
    return out
