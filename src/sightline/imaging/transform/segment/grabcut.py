"""Segmentation by GrabCut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sightline.imaging.transform.segment import SEGMENT, Foreground
from sightline.imaging.transform.step import between

if TYPE_CHECKING:
    from sightline.imaging.transform.masks import Mask
    from sightline.imaging.transform.ops import Pixels

_SMALLEST_CUT = 8  # px; with fewer pixels GrabCut cannot learn five colours of each side


@SEGMENT.register("grabcut")
@dataclass
class GrabCut(Foreground):
    """Learns the colours of border and centre and cuts between them: for photographs of a single object; slow.

    Source: Rother, Kolmogorov and Blake, GrabCut, ACM Trans. Graphics 23, 2004.

    Attributes:
        border: Width of the frame that is certain background, as a fraction of the shorter side, 0.01..0.4.
        iterations: Iterations of learning and cutting, 1..10.
        max_side: See `KMeans`.
    """

    border: float
    iterations: int
    max_side: int

    def __post_init__(self) -> None:
        super().__post_init__()
        between("border", self.border, 0.01, 0.4)
        between("iterations", self.iterations, 1, 10)
        between("max_side", self.max_side, 32, 1024)

    def find(self, image: Pixels) -> Mask:
        """Returns the mask of the foreground, [h, w] bool."""
        import cv2
        import numpy as np

        from sightline.imaging.transform.masks import three_channels

        height, width, _ = image.shape
        if min(height, width) < _SMALLEST_CUT:
            return np.ones((height, width), np.bool_)
        inset = max(1, round(self.border * min(height, width)))
        box = (inset, inset, width - 2 * inset, height - 2 * inset)
        mask = np.zeros((height, width), np.uint8)
        cv2.setRNGSeed(0)  # the state is per thread
        cv2.grabCut(
            three_channels(image),
            mask,
            box,
            np.zeros((1, 65)),
            np.zeros((1, 65)),
            self.iterations,
            cv2.GC_INIT_WITH_RECT,
        )
        return np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD))
