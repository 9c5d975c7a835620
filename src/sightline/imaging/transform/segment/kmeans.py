"""Segmentation by clustering colours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sightline.imaging.transform.segment import SEGMENT, Foreground
from sightline.imaging.transform.step import between

if TYPE_CHECKING:
    from sightline.imaging.transform.masks import Mask
    from sightline.imaging.transform.ops import Pixels


@SEGMENT.register("kmeans")
@dataclass
class KMeans(Foreground):
    """Clusters the colours; those more common on the border than in the image are background: multicoloured objects.

    Source: Lloyd, Least squares quantization in PCM, IEEE Trans. Information Theory 28, 1982; colours in CIE L*a*b*.

    Attributes:
        clusters: Number of clusters, 2..8.
        max_side: In pixels, 32..1024; for larger images the mask is computed on a copy of this size.
    """

    clusters: int
    max_side: int

    def __post_init__(self) -> None:
        super().__post_init__()
        between("clusters", self.clusters, 2, 8)
        between("max_side", self.max_side, 32, 1024)

    def find(self, image: Pixels) -> Mask:
        """Returns the mask of the foreground, [h, w] bool."""
        import cv2
        import numpy as np

        from sightline.imaging.transform.masks import border

        height, width, channels = image.shape
        if height * width < self.clusters or not np.ptp(image, axis=(0, 1)).any():
            return np.ones((height, width), np.bool_)
        colors = image if channels == 1 else np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2Lab))
        samples = colors.reshape(-1, channels).astype(np.float32)
        stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 50, 0.5)
        cv2.setRNGSeed(0)  # the state is per thread, and initial centres are drawn from it
        _, labels, _ = cv2.kmeans(samples, self.clusters, None, stop, 3, cv2.KMEANS_PP_CENTERS)  # type: ignore[call-overload]
        plane = np.asarray(labels).reshape(height, width)
        edge = border(plane)
        on_border = np.bincount(edge, minlength=self.clusters) / edge.size
        everywhere = np.bincount(plane.reshape(-1), minlength=self.clusters) / plane.size
        return np.asarray((on_border < everywhere)[plane])
