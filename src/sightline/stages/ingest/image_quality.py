"""Image quality: the flags and the perceptual hash that the audit goes by."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from sightline.imaging.convert import shrunk
from sightline.imaging.sharpness import sharpness

cv2.setNumThreads(1)  # images are small; the workers are the parallelism

DARK, BRIGHT, BLURRED, ODD_SHAPE = "dark", "bright", "blurred", "odd_shape"
FLAGS = (DARK, BRIGHT, BLURRED, ODD_SHAPE)

# The thresholds of CleanVision 0.3 (cleanvision/issue_managers/image_property.py), on the same properties.
_DARK_BELOW = 0.32  # the 99th percentile of brightness, 0..1
_BRIGHT_ABOVE = 0.95  # the 5th percentile of brightness
_BLURRED_BELOW = 0.29  # 1 - exp(-variance of the Laplacian / 100)
_ODD_BELOW = 0.35  # the shorter side over the longer

# In whole grey levels, which NumPy compares without making floats of an image.
_NOT_DARK, _NOT_BRIGHT = math.ceil(_DARK_BELOW * 255), math.floor(_BRIGHT_ABOVE * 255)

_HASH_SIDE = 16
Grey = npt.NDArray[np.uint8]

HASH_BYTES = _HASH_SIDE * _HASH_SIDE // 8


@dataclass(frozen=True, slots=True)
class ImageQuality:
    """The striking features of an image.

    Attributes:
        flags: Some of `FLAGS`.
        phash: Perceptual hash, 32 bytes; similar images differ in few bits.
    """

    flags: tuple[str, ...]
    phash: bytes


def measure_quality(grey: Grey) -> ImageQuality:
    """Measures an image, brought to a longer side of 64 to 127 pixels where it is larger.

    Args:
        grey: [height, width] uint8.
    """
    height, width = grey.shape
    small = shrunk(grey)
    deviation = sharpness(small)
    is_flagged = {
        DARK: np.count_nonzero(small >= _NOT_DARK) < 0.01 * small.size,
        BRIGHT: np.count_nonzero(small <= _NOT_BRIGHT) < 0.05 * small.size,
        BLURRED: 1 - math.exp(-(deviation**2) / 100) < _BLURRED_BELOW,
        ODD_SHAPE: min(height, width) / max(height, width) < _ODD_BELOW,
    }
    return ImageQuality(tuple(name for name, is_so in is_flagged.items() if is_so), _phash(small))


def phash(grey: Grey) -> bytes:
    """Returns the perceptual hash of [height, width] uint8: 256 signs of the 16x16 lowest frequencies of its DCT.

    Each frequency is held against the median (Zauner, "Implementation and benchmarking of perceptual image hash
    functions", 2010, section 3.2.1), with 256 bits in place of 64, so that small drawings of one kind stay apart.
    """
    return _phash(shrunk(grey))


def _phash(grey: Grey) -> bytes:
    rows, columns = _cosines(grey.shape[0]), _cosines(grey.shape[1])
    # Whole numbers below 2^53: exact in any order of summation, thus the same bits on every processor.
    lowest = rows @ grey.astype(np.float64) @ columns.T
    middle = np.partition(lowest, lowest.size // 2, axis=None)[lowest.size // 2]
    return np.packbits(lowest >= middle).tobytes()


@functools.lru_cache(maxsize=512)
def _cosines(size: int) -> npt.NDArray[np.float64]:
    """Returns the 16 lowest base functions of the DCT-II as [16, size] whole numbers.

    A side of fewer than 32 pixels counts as if it had been interpolated to 32: it has not 16 frequencies of its own.
    """
    full = max(size, 2 * _HASH_SIDE)
    angles = np.pi * np.outer(np.arange(_HASH_SIDE), 2 * np.arange(full) + 1) / (2 * full)
    bases = 4096 * np.cos(angles)
    if full > size:
        centres = (np.arange(full) + 0.5) * size / full - 0.5
        interpolation = [np.interp(centres, np.arange(size), unit) for unit in np.eye(size)]
        bases = bases @ np.stack(interpolation, axis=1)
    whole: npt.NDArray[np.float64] = np.rint(bases)
    return whole
