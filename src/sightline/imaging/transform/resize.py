"""Resizing: each option of `options.RESIZE` at work."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sightline.config.schema import Option
from sightline.imaging.transform import options
from sightline.imaging.transform.ops import Pixels, fit, scale


def resize(image: Pixels, option: Option, size: int, background: Sequence[int]) -> Pixels:
    """Brings an image to a fixed size.

    Args:
        image: [h, w, c] uint8.
        option: One of `options.RESIZE`.
        size: Height and width of the result in pixels.
        background: A level for each channel, for `pad`.

    Returns:
        [size, size, c] uint8.
    """
    match option:
        case options.Pad():
            return _pad(fit(image, size), size, background)
        case options.Crop():
            height, width = image.shape[:2]
            side = min(height, width)
            top, left = (height - side) // 2, (width - side) // 2
            return scale(np.ascontiguousarray(image[top : top + side, left : left + side]), size, size)
    return scale(image, size, size)


def _pad(image: Pixels, size: int, background: Sequence[int]) -> Pixels:
    out = np.empty((size, size, image.shape[2]), np.uint8)
    out[:] = np.asarray(background, np.uint8)
    top, left = (size - image.shape[0]) // 2, (size - image.shape[1]) // 2
    out[top : top + image.shape[0], left : left + image.shape[1]] = image
    return out
