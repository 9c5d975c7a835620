"""Operations on masks, shared by the segmentation methods."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sightline.imaging.transform.ops import Pixels

Mask = npt.NDArray[np.bool_]
"""[height, width] bool: where the foreground is."""


def border(plane: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """Returns the outermost pixels of [h, w]."""
    return np.concatenate([plane[0], plane[-1], plane[1:-1, 0], plane[1:-1, -1]])


def side_of(bright: Mask, foreground: str) -> Mask:
    """Returns the mask of the foreground side; "auto" takes the side with fewer pixels on the image's border."""
    if foreground == "auto":
        edge = border(bright)
        foreground = "dark" if 2 * np.count_nonzero(edge) > edge.size else "bright"
    return bright if foreground == "bright" else ~bright


def three_channels(image: Pixels) -> Pixels:
    """Returns [h, w, 3]: a grey image repeated three times, any other unchanged."""
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image


def crop(image: Pixels, mask: Mask, margin: float) -> Pixels:
    """Crops to the mask's bounding box, widened on each side by `margin` times its longer side."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    extra = round(margin * max(bottom - top, right - left))
    return np.ascontiguousarray(image[max(0, top - extra) : bottom + extra, max(0, left - extra) : right + extra])
