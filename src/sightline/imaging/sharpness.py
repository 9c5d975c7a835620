"""Sharpness of an image: how much its edges stand out."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt


def sharpness(grey: npt.NDArray[np.uint8]) -> float:
    """Returns the standard deviation of the Laplacian of [height, width] uint8, low where the image is blurred.

    Pech-Pacheco et al. (2000), "Diatom autofocusing in brightfield microscopy". To compare images of different sizes,
    bring them to one size first, as `sightline.imaging.convert.shrunk` does.
    """
    return float(cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_32F))[1].item())
