"""Occlusion sensitivity: the parts of an image that a score depends on, found without gradients.

A grey patch is moved over the image; where it lowers the score of a class, the network uses what it covers (Zeiler and
Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014, section 4.2). Works for any model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.uint8]
Scores = npt.NDArray[np.floating[Any]]

CELLS = 8
"""Number of cells in each direction; the patch covers two by two, and moves by one: 49 runs."""


@dataclass(frozen=True)
class OcclusionMap:
    """The dependence of an image's score on its parts.

    Attributes:
        falls: [CELLS, CELLS] float32: how much the score falls when a cell is covered, as the mean over the patches
            that cover it; a rise counts as 0.
        lowest: The lowest score under any patch.
        worst: The position of the patch with the lowest score: row and column of its first cell, 0 to CELLS - 2.
    """

    falls: npt.NDArray[np.float32]
    lowest: float
    worst: tuple[int, int]


def occlusion_map(
    scores: Callable[[Images], Scores], image: Images, score: float, filling: Images, batch_size: int = 16
) -> OcclusionMap:
    """Covers parts of an image in turn, and measures how the score falls.

    Args:
        scores: Maps images [n, height, width, channels] uint8 to scores [n] of the class to explain.
        image: [height, width, channels] uint8.
        score: The score of the whole image.
        filling: [channels] uint8, the levels of the patch.
        batch_size: Images per run of the network.
    """
    height, width = image.shape[:2]
    rows = np.linspace(0, height, CELLS + 1).astype(int)
    columns = np.linspace(0, width, CELLS + 1).astype(int)
    places = [(y, x) for y in range(CELLS - 1) for x in range(CELLS - 1)]
    covered = np.repeat(image[None], len(places), axis=0)
    for one, (y, x) in zip(covered, places, strict=True):
        one[rows[y] : rows[y + 2], columns[x] : columns[x + 2]] = filling
    starts = range(0, len(places), batch_size)
    remaining = np.concatenate([scores(covered[start : start + batch_size]) for start in starts])
    total = np.zeros((CELLS, CELLS), np.float32)
    times = np.zeros((CELLS, CELLS), np.float32)
    for (y, x), left in zip(places, remaining, strict=True):
        total[y : y + 2, x : x + 2] += max(0.0, score - float(left))
        times[y : y + 2, x : x + 2] += 1
    worst = int(np.argmin(remaining))
    return OcclusionMap(total / times, float(remaining[worst]), places[worst])
