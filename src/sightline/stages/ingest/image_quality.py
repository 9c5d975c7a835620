"""Image quality: the flags and the perceptual hash that the audit uses."""

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

# In whole grey levels, which NumPy compares without converting the image to floats.
_NOT_DARK, _NOT_BRIGHT = math.ceil(_DARK_BELOW * 255), math.floor(_BRIGHT_ABOVE * 255)

_HASH_SIDE = 16
Grey = npt.NDArray[np.uint8]

HASH_BYTES = _HASH_SIDE * _HASH_SIDE // 8


@dataclass(frozen=True, slots=True)
class ImageQuality:
    """Quality flags and perceptual hash of an image.

    Attributes:
        flags: A subset of `FLAGS`.
        phash: Perceptual hash, 32 bytes; similar images differ in few bits.
    """

    flags: tuple[str, ...]
    phash: bytes


def measure_quality(grey: Grey) -> ImageQuality:
    """Measures an image; a larger one is first shrunk to a longer side of 64 to 127 pixels.

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
    """Returns the perceptual hash of [height, width] uint8: one bit for each of the 16x16 lowest DCT frequencies.

    Each coefficient is compared with the median (Zauner, "Implementation and benchmarking of perceptual image hash
    functions", 2010, section 3.2.1). The hash has 256 bits instead of 64 to tell similar small drawings apart.
    """
    return _phash(shrunk(grey))


def _phash(grey: Grey) -> bytes:
    rows, columns = _cosines(grey.shape[0]), _cosines(grey.shape[1])
    # Whole numbers below 2^53: sums are exact in any order, and so the bits are the same on every processor.
    lowest = rows @ grey.astype(np.float64) @ columns.T
    middle = np.partition(lowest, lowest.size // 2, axis=None)[lowest.size // 2]
    return np.packbits(lowest >= middle).tobytes()


@functools.lru_cache(maxsize=512)
def _cosines(size: int) -> npt.NDArray[np.float64]:
    """Returns the 16 lowest basis functions of the DCT-II as [16, size] whole numbers.

    A side shorter than 32 pixels is treated as if it had been interpolated to 32, since it has too few frequencies.
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
