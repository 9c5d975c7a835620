"""Occlusion maps of served predictions: how the probability falls when a part is covered, as an image and in words."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from sightline.imaging.decode import encode_png
from sightline.imaging.occlusion import CELLS, OcclusionMap, occlusion_map
from sightline.predict.bundle import Bundle
from sightline.predict.inference_model import Images

_FAINT = 0.05
"""Minimum fall of the probability that is drawn at full intensity; if all falls are smaller, the map stays faint."""

_SHOWN = 256
_SIDE = 224


def explain(bundle: Bundle, image: Images, target: int, probability: float, batch_size: int = 16) -> OcclusionMap:
    """Returns the dependence of a class's probability on the parts of a prepared image.

    Args:
        bundle: The model.
        image: [height, width, channels] uint8, as returned by `Bundle.prepare`.
        target: Index of the class to explain.
        probability: The class's probability for the whole image.
        batch_size: Images per run of the network.
    """

    def of_target(images: Images) -> npt.NDArray[np.floating[Any]]:
        return bundle.probabilities(images)[:, target]

    return occlusion_map(of_target, image, probability, _filling(bundle, image), batch_size)


def _filling(bundle: Bundle, image: Images) -> Images:
    """Returns the mean level of each channel in the training set, or in the image itself if that is unknown."""
    statistics = bundle.transform.statistics
    levels = np.array(statistics.mean) * 255 if statistics else image.reshape(-1, image.shape[2]).mean(axis=0)
    return np.round(levels).astype(np.uint8)


def place_name(y: int, x: int) -> str:
    """Returns the name of the position of a patch's centre, in thirds of the image.

    >>> place_name(0, 0), place_name(3, 3), place_name(6, 3), place_name(3, 6)
    ('upper left', 'centre', 'lower middle', 'right')
    """
    vertical = ["upper", "", "lower"][3 * (y + 1) // CELLS]
    horizontal = ["left", "middle", "right"][3 * (x + 1) // CELLS]
    if not vertical:
        return "centre" if horizontal == "middle" else horizontal
    return f"{vertical} {horizontal}"


def heat_png(heat: OcclusionMap) -> bytes:
    """Draws the map as a PNG overlay for the image: the hotter, the brighter and the less transparent."""
    share = heat.falls / max(float(heat.falls.max()), _FAINT)
    large = cv2.resize(share, (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    colours = cv2.applyColorMap((large * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    alpha = (large**0.7 * 220).astype(np.uint8)
    drawn = np.dstack([colours, alpha])  # OpenCV's order: blue, green, red, alpha
    done, data = cv2.imencode(".png", drawn)
    if not done:
        raise RuntimeError("OpenCV encoded no PNG")
    return bytes(data)


def picture_png(image: Images) -> bytes:
    """Encodes an image with any number of channels as a PNG, no larger than the page displays it."""
    shown = image[:, :, :1] if image.shape[2] in (2,) else image[:, :, :3]
    longer = max(shown.shape[:2])
    if longer > _SHOWN:
        scale = _SHOWN / longer
        size = (max(1, round(shown.shape[1] * scale)), max(1, round(shown.shape[0] * scale)))
        shown = np.atleast_3d(cv2.resize(shown, size, interpolation=cv2.INTER_AREA)).astype(np.uint8, copy=False)
    return encode_png(np.ascontiguousarray(shown))
