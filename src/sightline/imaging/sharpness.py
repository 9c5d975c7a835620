"""Sharpness of an image, measured by its edges."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt


def sharpness(grey: npt.NDArray[np.uint8]) -> float:
    """Returns the standard deviation of the Laplacian of [height, width] uint8, which is low for blurred images.

    Pech-Pacheco et al. (2000), "Diatom autofocusing in brightfield microscopy". To compare images of different sizes,
    scale them to one size first, as `sightline.imaging.convert.shrunk` does.
    """
    edges = cv2.Laplacian(grey, cv2.CV_16S)  # integers up to 4 * 255, as are their sums: exact
    share = 1 / edges.size
    mean = cv2.sumElems(edges)[0] * share
    return math.sqrt(max(cv2.norm(edges, cv2.NORM_L2SQR) * share - mean * mean, 0.0))
