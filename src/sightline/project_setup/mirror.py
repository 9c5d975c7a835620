"""The mirror test: whether mirrored images still look like images of their class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Thumbnails = npt.NDArray[np.float32]


def accuracy_kept(thumbnails: Thumbnails, labels: Sequence[str]) -> float | None:
    """Returns the share of the nearest-neighbour accuracy that is kept when the images are mirrored.

    Each image, and then its mirror image, gets the class of the nearest other image. If mirroring keeps the class, the
    accuracy is about the same; if not (a `b` becomes a `d`, all shoes point to the left), it is much lower.

    Args:
        thumbnails: [n, height, width] grey levels.
        labels: The classes, n.

    Returns:
        A number from 0 to about 1; None where the nearest neighbours name too few rightly to say anything.
    """
    names, own = np.unique(np.asarray(labels), return_inverse=True)
    base = _unit(thumbnails)
    likeness = base @ base.T
    np.fill_diagonal(likeness, -np.inf)
    upright = float(np.mean(own[likeness.argmax(axis=1)] == own))
    chance = float(np.max(np.bincount(own))) / len(own)
    if len(names) < 2 or upright < chance + 0.5 * (1 - chance):
        return None
    likeness = _unit(thumbnails[:, :, ::-1]) @ base.T
    np.fill_diagonal(likeness, -np.inf)  # else a picture that is its own mirror image would name itself
    return float(np.mean(own[likeness.argmax(axis=1)] == own)) / upright


def _unit(thumbnails: Thumbnails) -> Thumbnails:
    flat = thumbnails.reshape(len(thumbnails), -1)
    centred = flat - flat.mean(axis=1, keepdims=True)
    unit: Thumbnails = centred / (np.linalg.norm(centred, axis=1, keepdims=True) + 1e-6)
    return unit
