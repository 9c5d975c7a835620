"""The mirror test: whether pictures of a class still look like that class when left and right change places."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Thumbnails = npt.NDArray[np.float32]


def accuracy_kept(thumbnails: Thumbnails, labels: Sequence[str]) -> float | None:
    """Returns the share of the nearest-neighbour accuracy that is left when the pictures are mirrored.

    Each picture is named after the nearest other one; then its mirror image is. Where mirror images are as good, about
    as many are named rightly; where they are not (a `b` is a `d`, all shoes point to the left), many fewer.

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
