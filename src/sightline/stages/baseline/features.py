"""Features of images for the baseline methods."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sightline.core.progress import track

if TYPE_CHECKING:
    from sightline.datasets.processed_set import Images


Features = npt.NDArray[np.float32]

BATCH = 256
"""Images whose features are computed together; this limits the memory for intermediate results."""


def in_batches(compute: Callable[[Images], Features], images: Images, threads: int) -> Features:
    """Returns features [n, ...] of images, computed in batches; the number of threads does not affect them."""
    batches = [images[start : start + BATCH] for start in range(0, len(images), BATCH)]
    with ThreadPoolExecutor(threads) as pool:
        return np.concatenate(list(track(pool.map(compute, batches), "features", len(images), each=BATCH)))


def reduced(images: Images, side: int) -> Images:
    """Returns images [n, h, w, c] with a longer side of at most `side` px; larger ones are reduced by averaging."""
    height, width, channels = images.shape[1:]
    if max(height, width) <= side:
        return images
    factor = side / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    import cv2

    small = [cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in images]
    return np.stack(small).reshape(-1, size[1], size[0], channels)


def grey(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Returns the brightness [h, w] of the first three channels of an image [h, w, c], or its first channel.

    Any further channel is a mask, which `preprocess.segment` can add.
    """
    if image.shape[2] < 3:
        return np.ascontiguousarray(image[..., 0])
    import cv2

    return np.asarray(cv2.cvtColor(np.ascontiguousarray(image[..., :3]), cv2.COLOR_RGB2GRAY), np.uint8)


class PixelStandardizer:
    """Standardised pixels: each channel has mean 0 and standard deviation 1 over the training images.

    Args:
        side: Maximum longer side in px; larger images are reduced to it.
    """

    def __init__(self, side: int) -> None:
        self._side = side
        self.mean: Features = np.zeros(0, np.float32)
        self.std: Features = np.zeros(0, np.float32)

    def fit(self, images: Images) -> Features:
        """Computes means and standard deviations, and returns the standardised images, [n, h * w * c] float32."""
        small = reduced(images, self._side)
        levels = np.arange(256)
        counts = [np.bincount(small[..., c].reshape(-1), minlength=256) for c in range(small.shape[3])]
        mean = [np.average(levels, weights=count) for count in counts]
        var = [np.average((levels - m) ** 2, weights=count) for m, count in zip(mean, counts, strict=True)]
        self.mean = np.array(mean, np.float32)
        self.std = np.maximum(np.sqrt(var), 1).astype(np.float32)  # at least 1 of 255: a channel may be constant
        return self._numbers(small)

    def __call__(self, images: Images) -> Features:
        """Returns standardised images, [n, h * w * c] float32."""
        return self._numbers(reduced(images, self._side))

    def _numbers(self, images: Images) -> Features:
        numbers = images.astype(np.float32)
        numbers -= self.mean
        numbers /= self.std
        return numbers.reshape(len(images), -1)
