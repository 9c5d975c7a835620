"""Stratified sample: a part of a set with the same proportions of classes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sightline.core.seeds import derive
from sightline.metrics.base import Labels


def stratified_sample(labels: Labels, limit: int, seed: int, purpose: str) -> npt.NDArray[np.intp]:
    """Returns at most `limit` positions, sorted: all, or a random draw in which each class has its share.

    The images of each class are shuffled and spread evenly over [0, 1); the draw is those that come first. As each
    class has one at 0, none is left out unless there are more classes than `limit`.

    Args:
        labels: [n] class indices.
        limit: At most so many positions.
        seed: The draw is a function of it and of the purpose.
        purpose: The sample's purpose: other purposes, other images.
    """
    if len(labels) <= limit:
        return np.arange(len(labels))
    rng = np.random.default_rng(derive(seed, purpose))
    place = np.empty(len(labels))
    for label in np.unique(labels):
        here = np.flatnonzero(labels == label)
        place[rng.permutation(here)] = np.arange(len(here)) / len(here)
    # Between classes at the same place, the larger comes first; labels break what ties are left.
    size = np.bincount(labels)[labels]
    return np.sort(np.lexsort((labels, -size, place))[:limit])
