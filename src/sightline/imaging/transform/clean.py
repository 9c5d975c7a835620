"""Cleaning: what is removed before anything is measured, and the colours in which the result is given."""

from __future__ import annotations

import cv2
import numpy as np

from sightline.config.schema import Option
from sightline.core.rejection import RejectionError, RejectionReason
from sightline.imaging.transform import options
from sightline.imaging.transform.ops import Pixels, shrink_to, with_channels

_BLOCK_PIXELS = 2**16  # looked at together: most borders end within
_CODES = {"grey": cv2.COLOR_RGB2GRAY, "hsv": cv2.COLOR_RGB2HSV_FULL, "lab": cv2.COLOR_RGB2Lab}
_NAMES = {"grey": ["grey"], "hsv": ["hue", "saturation", "value"], "lab": ["lightness", "a", "b"]}
_SINGLE = {name: (space, at) for space in ("hsv", "lab") for at, name in enumerate(_NAMES[space])}


def clean(image: Pixels, option: Option) -> Pixels:
    """Returns the cleaned image, [h, w, c] uint8; its colours as they were.

    Raises:
        RejectionError: With RejectionReason.BLANK, where blank images are to be dropped.
    """
    if not isinstance(option, options.Clean):
        return image
    if option.drop_blank:
        spread = int(np.max(np.ptp(image, axis=(0, 1))))
        if spread <= option.blank_tolerance:
            raise RejectionError(
                RejectionReason.BLANK, f"all levels lie within {spread}, tolerance {option.blank_tolerance}"
            )
    if option.trim_borders:
        image = trim(image, option.trim_tolerance)
    return shrink_to(image, option.max_side) if option.max_side else image


def trim(image: Pixels, tolerance: int) -> Pixels:
    """Cuts each side's rows or columns that lie, all their pixels, within `tolerance` of that side's median colour.

    Rows first, then columns of what is left, so that letterboxes, pillarboxes and frames are all seen. An image that
    would vanish is returned whole.
    """
    kept = image
    for _ in range(2):  # rows, then columns
        kept = kept[_same(kept, tolerance) :]
        kept = kept[: len(kept) - _same(kept[::-1], tolerance)].transpose(1, 0, 2)
        if kept.size == 0:
            return image
    return np.ascontiguousarray(kept)


def _same(image: Pixels, tolerance: int) -> int:
    """Counts the rows from the top that are all of the first row's colour; a row of one pixel tells nothing."""
    if len(image) == 0 or image.shape[1] < 2:
        return 0
    color = np.median(image[0], axis=0).astype(np.int16)
    rows = max(1, _BLOCK_PIXELS // image.shape[1])
    for start in range(0, len(image), rows):
        block = image[start : start + rows].astype(np.int16)
        others = np.flatnonzero((np.abs(block - color) > tolerance).any(axis=(1, 2)))
        if others.size:
            return start + int(others[0])
    return len(image)


def convert(image: Pixels, color: str) -> Pixels:
    """Converts [h, w, 3] uint8 RGB to one of `options.COLORS`; further channels (a mask) are kept behind."""
    if color == "keep":
        return image
    space, at = _SINGLE.get(color, (color, None))
    converted = with_channels(cv2.cvtColor(np.ascontiguousarray(image[:, :, :3]), _CODES[space]))
    if at is not None:
        converted = converted[:, :, at : at + 1]
    return np.ascontiguousarray(np.dstack([converted, image[:, :, 3:]]))


def channel_names(color: str, channels: int) -> list[str]:
    """Returns what the channels of `convert` hold, for an image decoded to `channels`."""
    if color == "keep":
        return ["grey"] if channels == 1 else ["red", "green", "blue"]
    return _NAMES.get(color, [color])
