"""Denoising by wavelet shrinkage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sightline.config.schema import require_one_of
from sightline.imaging.transform.denoise import DENOISE
from sightline.imaging.transform.denoise.nonlocal_means import MAD_TO_SIGMA
from sightline.imaging.transform.step import Step, between

if TYPE_CHECKING:
    from sightline.imaging.transform.ops import Pixels, Plane


@DENOISE.register("wavelet")
@dataclass
class Wavelet(Step):
    """Shrinks small wavelet coefficients with thresholds that follow the estimated noise: fine grain, unknown strength.

    Source: Chang, Yu and Vetterli, Adaptive wavelet thresholding (BayesShrink), IEEE Trans. Image Processing 9, 2000.

    Attributes:
        wavelet: One of "haar", "db2", "sym4", "bior4.4".
        levels: Levels of the decomposition, 1..6; fewer if the image is too small.
        strength: Multiplies the thresholds, 0.1..5; 1 is the paper's value.
    """

    wavelet: str
    levels: int
    strength: float

    def __post_init__(self) -> None:
        require_one_of("wavelet", self.wavelet, ("haar", "db2", "sym4", "bior4.4"))
        between("levels", self.levels, 1, 6)
        between("strength", self.strength, 0.1, 5)

    def __call__(self, image: Pixels) -> Pixels:
        """Returns the denoised image, [h, w, c] uint8."""
        from sightline.imaging.transform.ops import by_channel

        return by_channel(image, self._shrink)

    def _shrink(self, plane: Plane) -> Plane:
        """Soft-thresholds the details of a wavelet transform by BayesShrink, [h, w] in grey levels."""
        import numpy as np
        import pywt  # 0.15 s, needed for this option only

        deepest = pywt.dwtn_max_level(plane.shape, self.wavelet)
        if deepest == 0:
            return plane
        coarse, *details = pywt.wavedec2(plane, self.wavelet, mode="reflect", level=min(self.levels, deepest))
        noise = float(np.median(np.abs(details[-1][2]))) / MAD_TO_SIGMA

        def shrink(detail: Plane) -> Plane:
            signal = np.sqrt(max(float(np.mean(np.square(detail))) - noise**2, 1e-12))
            return np.asarray(pywt.threshold(detail, self.strength * noise**2 / signal, "soft"), np.float32)

        shrunk = [tuple(map(shrink, level)) for level in details]
        restored = pywt.waverec2([coarse, *shrunk], self.wavelet, mode="reflect")
        return np.asarray(restored[: plane.shape[0], : plane.shape[1]], np.float32)
