"""Statistics of a single image that are tested for drift: of its pixels and of the model's prediction."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from sightline.imaging.convert import shrunk
from sightline.imaging.sharpness import sharpness

PIXELS = ("brightness", "contrast", "sharpness", "saturation", "width", "height")
ANSWER = "confidence"
NAMES = (*PIXELS, ANSWER)

TITLES = {
    "brightness": "mean brightness, 0 to 1",
    "contrast": "standard deviation of the brightness, 0 to 1",
    "sharpness": "standard deviation of the Laplacian, of the image at 64 to 127 px",
    "saturation": "mean saturation, 0 (grey) to 1",
    "width": "width in px",
    "height": "height in px",
    "confidence": "probability of the predicted class",
}


def pixel_statistics(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Returns the statistics of an image's pixels, [6] float32, in the order of `PIXELS`.

    Args:
        image: [height, width, 3] uint8, RGB, as decoded: before any preprocessing.
    """
    grey = shrunk(np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8))
    mean, deviation = (float(value.item()) / 255 for value in cv2.meanStdDev(grey))
    high, low = image.max(axis=2).astype(np.float32), image.min(axis=2)
    saturation = float(np.divide(high - low, high, out=np.zeros_like(high), where=high > 0).mean())
    height, width = image.shape[:2]
    return np.array([mean, deviation, sharpness(grey), saturation, width, height], np.float32)
