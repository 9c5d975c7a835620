"""Occlusion sensitivity: which parts of an image a prediction depends on, without gradients.

A grey patch is moved over the prepared image; where the probability of the predicted class falls, the network had
looked (Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014, section 4.2).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from sightline.imaging.decode import encode_png
from sightline.predict.bundle import Bundle, Images

CELLS = 8
"""The image is divided into so many cells each way; the patch covers two by two, and moves by one: 49 runs."""

_FAINT = 0.05
"""A fall of the probability that is drawn hot though no other is larger: what falls by less stays faint."""

_SHOWN = 256
_SIDE = 224


@dataclass(frozen=True)
class OcclusionMap:
    """How an image's class depends on its parts.

    Attributes:
        falls: [CELLS, CELLS] float32: by how much the class's probability falls where that cell is covered, mean over
            the patches that cover it; 0 where it rises.
        lowest: The class's probability under the worst patch.
        where: That patch's place in words, as "upper left".
    """

    falls: npt.NDArray[np.float32]
    lowest: float
    where: str


def occlusion(bundle: Bundle, image: Images, target: int, probability: float, batch_size: int = 16) -> OcclusionMap:
    """Covers parts of a prepared image in turn.

    Args:
        bundle: The model.
        image: [height, width, channels] uint8, as `Bundle.prepare` gives it.
        target: Index of the class that is explained.
        probability: Its probability for the whole image.
        batch_size: Images per run of the network.
    """
    height, width = image.shape[:2]
    rows = np.linspace(0, height, CELLS + 1).astype(int)
    columns = np.linspace(0, width, CELLS + 1).astype(int)
    grey = _filling(bundle, image)
    places = [(y, x) for y in range(CELLS - 1) for x in range(CELLS - 1)]
    covered = np.repeat(image[None], len(places), axis=0)
    for one, (y, x) in zip(covered, places, strict=True):
        one[rows[y] : rows[y + 2], columns[x] : columns[x + 2]] = grey
    remaining = np.concatenate([
        bundle.probabilities(covered[start : start + batch_size])[:, target]
        for start in range(0, len(places), batch_size)
    ])  # fmt: skip
    total = np.zeros((CELLS, CELLS), np.float32)
    times = np.zeros((CELLS, CELLS), np.float32)
    for (y, x), share in zip(places, remaining, strict=True):
        total[y : y + 2, x : x + 2] += max(0.0, probability - float(share))
        times[y : y + 2, x : x + 2] += 1
    worst = int(np.argmin(remaining))
    return OcclusionMap(total / times, float(remaining[worst]), _words(*places[worst]))


def _filling(bundle: Bundle, image: Images) -> Images:
    """Returns the training set's mean level of each channel, or where that is not known the image's own."""
    statistics = bundle.transform.statistics
    levels = np.array(statistics.mean) * 255 if statistics else image.reshape(-1, image.shape[2]).mean(axis=0)
    return np.round(levels).astype(np.uint8)


def _words(y: int, x: int) -> str:
    """Says where a patch's middle is, in thirds of the image.

    >>> _words(0, 0), _words(3, 3), _words(6, 3), _words(3, 6)
    ('upper left', 'centre', 'lower middle', 'right')
    """
    vertical = ["upper", "", "lower"][3 * (y + 1) // CELLS]
    horizontal = ["left", "middle", "right"][3 * (x + 1) // CELLS]
    if not vertical:
        return "centre" if horizontal == "middle" else horizontal
    return f"{vertical} {horizontal}"


def overlay(heat: OcclusionMap) -> bytes:
    """Draws the heat as a PNG to lay over the picture: the hotter, the brighter and the less transparent."""
    share = heat.falls / max(float(heat.falls.max()), _FAINT)
    large = cv2.resize(share, (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    colours = cv2.applyColorMap((large * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    alpha = (large**0.7 * 220).astype(np.uint8)
    drawn = np.dstack([colours, alpha])  # OpenCV's order: blue, green, red, alpha
    done, data = cv2.imencode(".png", drawn)
    if not done:
        raise RuntimeError("OpenCV encoded no PNG")
    return bytes(data)


def picture(image: Images) -> bytes:
    """Encodes an image of any number of channels as a PNG, no larger than the page shows it."""
    shown = image[:, :, :1] if image.shape[2] in (2,) else image[:, :, :3]
    longer = max(shown.shape[:2])
    if longer > _SHOWN:
        scale = _SHOWN / longer
        size = (max(1, round(shown.shape[1] * scale)), max(1, round(shown.shape[0] * scale)))
        shown = np.atleast_3d(cv2.resize(shown, size, interpolation=cv2.INTER_AREA)).astype(np.uint8, copy=False)
    return encode_png(np.ascontiguousarray(shown))
