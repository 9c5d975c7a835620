"""Conversion of images for display: RGB channels, sizes that suit a page, heat maps as overlays."""

from __future__ import annotations

import io

import cv2
import numpy as np
import numpy.typing as npt
from matplotlib.colors import LinearSegmentedColormap
from PIL import Image

from sightline.datasets.processed_set import Images
from sightline.metrics.base import Floats

PIXELATED_MAX_SIDE = 96
"""Longest side up to which an image is kept as it is and enlarged without smoothing; larger ones are photographs."""
PHOTO_MAX_SIDE = 192
"""Longest side of a photograph on the page, in pixels."""

_HEAT = LinearSegmentedColormap.from_list("heat", ["#3b0f70", "#b63679", "#f8765c", "#fde725"])
_STRONGEST = 0.72
_JPEG_QUALITY = 82


def rgb(image: Images) -> Images:
    """Returns an image of any number of channels as [height, width, 3], without its mask.

    The second of two channels and the fourth of four are masks; see `transform.Transform`.
    """
    colours = 1 if image.shape[2] < 3 else 3
    return np.repeat(image[:, :, :1], 3, axis=2) if colours == 1 else np.ascontiguousarray(image[:, :, :3])


def overlay(image: Images, heat: Floats) -> Images:
    """Returns an image in grey overlaid with a heat map; small images are enlarged so that the map is smooth.

    Args:
        image: [height, width, channels] uint8.
        heat: [height, width] in 0..1; at 0 it is transparent.

    Returns:
        [s * height, s * width, 3] uint8, for an integer s >= 1.
    """
    height, width = image.shape[:2]
    factor = max(1, round(PHOTO_MAX_SIDE / max(height, width)))
    size = (width * factor, height * factor)
    grey = cv2.cvtColor(rgb(image), cv2.COLOR_RGB2GRAY)
    base = np.repeat(cv2.resize(grey, size, interpolation=cv2.INTER_NEAREST)[:, :, None], 3, axis=2) / 255
    smooth = np.clip(cv2.resize(heat.astype(np.float64), size, interpolation=cv2.INTER_LINEAR), 0, 1)
    strength = _STRONGEST * np.sqrt(smooth)[:, :, None]
    blended = (1 - strength) * base + strength * _HEAT(smooth)[:, :, :3]
    laid: Images = (blended * 255).round().astype(np.uint8)
    return laid


def encode_picture(image: npt.NDArray[np.uint8]) -> bytes:
    """Encodes an image for a page: as PNG if it is small, else as JPEG of at most `PHOTO_MAX_SIDE` pixels per side."""
    picture = Image.fromarray(rgb(image)) if image.shape[2] > 1 else Image.fromarray(image[:, :, 0])
    stream = io.BytesIO()
    if max(image.shape[:2]) <= PIXELATED_MAX_SIDE:
        picture.save(stream, "PNG", optimize=True)
    else:
        picture.thumbnail((PHOTO_MAX_SIDE, PHOTO_MAX_SIDE), Image.Resampling.LANCZOS)
        picture.save(stream, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    return stream.getvalue()
