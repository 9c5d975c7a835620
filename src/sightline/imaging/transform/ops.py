"""Operations shared by the steps: image types, scaling, and OpenCV calls that keep an image's three axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from sightline.imaging.convert import Pixels as Pixels  # [height, width, channels]

Plane = npt.NDArray[np.float32]
"""[height, width] float32: one channel, in grey levels."""


def with_channels(image: Any) -> Pixels:
    """Returns an OpenCV result as [h, w, c]: OpenCV drops the axis of a single channel."""
    return np.atleast_3d(image).astype(np.uint8, copy=False)


def luminance(image: Pixels) -> Pixels:
    """Returns the luma of ITU-R BT.601 as [h, w] uint8."""
    grey = image[:, :, 0] if image.shape[2] == 1 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return np.ascontiguousarray(grey, np.uint8)


def on_lightness(image: Pixels, change: Callable[[Pixels], Any]) -> Pixels:
    """Applies `change`, [h, w] -> [h, w], to the lightness only (L of CIE L*a*b*), so that colours keep their hue."""
    if image.shape[2] == 1:
        return with_channels(change(luminance(image)))
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2Lab)
    lab[:, :, 0] = change(np.ascontiguousarray(lab[:, :, 0], np.uint8))
    return with_channels(cv2.cvtColor(lab, cv2.COLOR_Lab2RGB))


def scale(image: Pixels, height: int, width: int) -> Pixels:
    """Scales to [height, width, c]: shrinks by averaging over areas, enlarges bilinearly.

    In two passes if one axis shrinks and the other grows: OpenCV's INTER_AREA averages only if both shrink, and
    otherwise skips pixels, which image-scaling attacks exploit (Quiring et al., USENIX Security 2020).
    """
    smaller = (min(height, image.shape[0]), min(width, image.shape[1]))
    if smaller != image.shape[:2]:
        image = with_channels(cv2.resize(image, smaller[::-1], interpolation=cv2.INTER_AREA))
    if (height, width) != image.shape[:2]:
        image = with_channels(cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR))
    return image


def fit_side(image: Pixels, side: int) -> Pixels:
    """Scales so that the longer side is `side` pixels, with the same aspect ratio."""
    height, width = image.shape[:2]
    longer = max(height, width)
    return scale(image, max(1, round(side * height / longer)), max(1, round(side * width / longer)))


def shrink_to(image: Pixels, side: int) -> Pixels:
    """Scales an image down so that its longer side is at most `side`."""
    return fit_side(image, side) if max(image.shape[:2]) > side else image


def gaussian_blur(image: Pixels, sigma: float) -> Pixels:
    """Blurs with a normal distribution of standard deviation `sigma`, in pixels."""
    return with_channels(cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT))


def mapped(image: Pixels, table: npt.NDArray[np.floating]) -> Pixels:
    """Replaces each level by its entry in `table`: [256], or [256, c] for a separate mapping per channel."""
    levels = np.clip(np.rint(table), 0, 255).astype(np.uint8)
    return with_channels(cv2.LUT(image, levels if levels.ndim == 1 else levels[:, None, :]))


def by_channel(image: Pixels, change: Callable[[Plane], Plane]) -> Pixels:
    """Applies `change` to each channel separately, and rounds the result to levels."""
    planes = [change(image[:, :, channel].astype(np.float32)) for channel in range(image.shape[2])]
    return np.clip(np.rint(np.stack(planes, axis=2)), 0, 255).astype(np.uint8)
