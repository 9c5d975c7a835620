"""Colour space of the transform's result: converted last, because earlier steps work in RGB."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sightline.imaging.transform.ops import Pixels

COLORS = ("keep", "grey", "hsv", "lab", "hue", "saturation", "value", "lightness", "a", "b")
_NAMES = {"grey": ["grey"], "hsv": ["hue", "saturation", "value"], "lab": ["lightness", "a", "b"]}
_SINGLE = {name: (space, at) for space in ("hsv", "lab") for at, name in enumerate(_NAMES[space])}


def convert(image: Pixels, color: str) -> Pixels:
    """Converts [h, w, 3] uint8 RGB to one of `COLORS`; further channels (a mask) are kept at the end."""
    import cv2
    import numpy as np

    from sightline.imaging.transform.ops import with_channels

    if color == "keep":
        return image
    codes = {"grey": cv2.COLOR_RGB2GRAY, "hsv": cv2.COLOR_RGB2HSV_FULL, "lab": cv2.COLOR_RGB2Lab}
    space, at = _SINGLE.get(color, (color, None))
    converted = with_channels(cv2.cvtColor(np.ascontiguousarray(image[:, :, :3]), codes[space]))
    if at is not None:
        converted = converted[:, :, at : at + 1]
    return np.ascontiguousarray(np.dstack([converted, image[:, :, 3:]]))


def channel_names(color: str, channels: int) -> list[str]:
    """Returns the names of the channels that `convert` returns for an image decoded to `channels`."""
    if color == "keep":
        return ["grey"] if channels == 1 else ["red", "green", "blue"]
    return _NAMES.get(color, [color])
