"""Stratified sample: a part of a dataset with the same class proportions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sightline.core.seeds import derive
from sightline.metrics.base import Labels


def stratified_sample(labels: Labels, limit: int, seed: int, purpose: str) -> npt.NDArray[np.intp]:
    """Returns at most `limit` positions, sorted: all, or a random sample with classes in proportion.

    The images of each class are shuffled and spread evenly over [0, 1); the sample consists of those that come first.
    As each class has an image at 0, no class is left out unless there are more classes than `limit`.

    Args:
        labels: [n] class indices.
        limit: Maximum number of positions.
        seed: The sample is a function of it and of the purpose.
        purpose: The sample's purpose: another purpose gives another sample.
    """
    if len(labels) <= limit:
        return np.arange(len(labels))
    rng = np.random.default_rng(derive(seed, purpose))
    place = np.empty(len(labels))
    for label in np.unique(labels):
        here = np.flatnonzero(labels == label)
        place[rng.permutation(here)] = np.arange(len(here)) / len(here)
    # Between classes at the same position, the larger comes first; remaining ties are broken by label.
    size = np.bincount(labels)[labels]
    return np.sort(np.lexsort((labels, -size, place))[:limit])
