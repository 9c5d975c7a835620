"""Ranking metrics: whether a class is more probable for its own images than for images of other classes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sightline.metrics.base import Floats, Labels

Weights = npt.NDArray[np.int32]


def one_vs_rest(labels: Labels, probabilities: Floats, weights: Weights | None = None) -> tuple[Floats, Floats]:
    """Returns the area under the ROC curve and the average precision of each class against all others.

    Both are defined as in scikit-learn: images of equal probability share one threshold; the average precision is the
    sum over thresholds of precision times gained recall, without interpolation.

    Args:
        labels: [n] true classes.
        probabilities: [n, K].
        weights: [R, n] how often each image counts in each of R resamples, which must all have the same number of
            images of each class (stratified); None for one sample with all weights 1.

    Returns:
        Areas and average precisions, [R, K] each; NaN if a class has no images or, for areas, if it has all images.
    """
    w = np.ones((1, len(labels)), np.int32) if weights is None else weights
    areas = np.full((len(w), probabilities.shape[1]), np.nan)
    average_precisions = areas.copy()
    for label in np.unique(labels):
        order = np.argsort(-probabilities[:, label], kind="stable")
        scores, places = probabilities[order, label], np.flatnonzero(labels[order] == label)
        seen = w[:, order]
        # Only thresholds that add an image of the class contribute to the sums.
        ends = np.flatnonzero(np.r_[scores[1:] != scores[:-1], True])
        groups, starts = np.unique(np.searchsorted(ends, places), return_index=True)
        gained = np.add.reduceat(seen[:, places], starts, axis=1)
        found = gained.cumsum(axis=1)
        np.cumsum(seen, axis=1, out=seen)
        at_end = seen[:, ends[groups]]
        before = np.where(groups > 0, seen[:, ends[groups - 1]], 0)
        total = int(found[0, -1])
        precision = np.divide(found, at_end, out=np.zeros(found.shape), where=at_end > 0)
        average_precisions[:, label] = (gained * precision).sum(axis=1) / total
        if others := int(w[0].sum()) - total:
            ranked_above = (before - (found - gained)) + (at_end - found)  # twice: before the group and at its end
            areas[:, label] = (gained * (others - ranked_above / 2)).sum(axis=1) / (total * others)
    return areas, average_precisions


def roc_auc(labels: Labels, probabilities: Floats, weights: Weights | None = None) -> Floats:
    """Returns the areas under the ROC curves of `one_vs_rest`, [R, K]."""
    return one_vs_rest(labels, probabilities, weights)[0]


def average_precision(labels: Labels, probabilities: Floats, weights: Weights | None = None) -> Floats:
    """Returns the average precisions of `one_vs_rest`, [R, K]."""
    return one_vs_rest(labels, probabilities, weights)[1]
