"""Confident learning: labels that are probably wrong.

Northcutt, Jiang and Chuang (2021), "Confident learning: estimating uncertainty in dataset labels", Journal of
Artificial Intelligence Research 70. The probabilities must be out of sample (the model was not trained on these
images), since a network memorises wrong labels.
"""

from __future__ import annotations

import numpy as np
from scipy.special import bdtrc

from sightline.metrics.base import Bools, Floats, Labels, predicted_classes

LEVEL = 0.05


def thresholds(labels: Labels, probabilities: Floats) -> Floats:
    """Returns the mean probability of each class over its own images, [K]; infinity for classes without images.

    Section 3.1, equation 2: the threshold of "confident" differs between classes, as models are surer of some.
    """
    means = np.full(probabilities.shape[1], np.inf)
    for label in np.unique(labels):
        means[label] = probabilities[labels == label, label].mean()
    return means


def confident_classes(labels: Labels, probabilities: Floats) -> Labels:
    """Returns the class that each image confidently belongs to, [n] int64; -1 if there is none.

    It is the most probable of the classes whose threshold is reached, with the lowest index on ties.
    """
    # The mean of equal numbers can exceed them by a rounding error.
    reached = probabilities >= thresholds(labels, probabilities) - 1e-12
    best: Labels = np.where(reached, probabilities, -1.0).argmax(axis=1).astype(np.int64)
    return np.where(reached.any(axis=1), best, -1)


def suspected(labels: Labels, probabilities: Floats) -> Bools:
    """Returns which images confidently belong to a class other than their label, [n]."""
    confident = confident_classes(labels, probabilities)
    off: Bools = (confident >= 0) & (confident != labels)
    return off


def poor(labels: Labels, probabilities: Floats) -> str:
    """Returns why a model is too poor to judge the labels; an empty string if it is good enough.

    Confident learning assumes that most labels are correct and that the model has learned them. This does not hold for
    a model that is not significantly better than always predicting one class (exact binomial test, one-sided, 5 %), or
    that contradicts more labels than it confirms where it is confident.

    Args:
        labels: [n] given labels, n >= 1.
        probabilities: [n, K] out-of-sample probabilities.
    """
    n, off = len(labels), int(suspected(labels, probabilities).sum())
    if not off:
        return ""
    right, most = int((predicted_classes(probabilities) == labels).sum()), int(np.bincount(labels).max())
    p = float(bdtrc(right - 1, n, most / n)) if right else 1.0
    hits = f"the model is right on {right} of {n} images"
    if not p < LEVEL:  # NaN (with a single class) is no evidence
        return (
            f"{hits}, which is not shown to be better than always predicting one class, right on {most} (p = {p:.2g})"
        )
    confirmed = int((confident_classes(labels, probabilities) == labels).sum())
    if off > confirmed:
        return f"{hits}, and where it is confident it contradicts more labels ({off}) than it confirms ({confirmed})"
    return ""


def margins(labels: Labels, probabilities: Floats) -> Floats:
    """Returns the normalised margin of each label, [n] in 0..1: the lower, the more suspect.

    It is the probability of the label minus the largest one of the other classes (the paper's ranking by normalised
    margin), rescaled to 0..1. It is defined for all images, suspected or not.

    >>> margins(np.array([0, 1]), np.array([[0.75, 0.25], [0.75, 0.25]])).tolist()
    [0.75, 0.25]
    """
    rows = np.arange(len(labels))
    others = probabilities.copy()
    others[rows, labels] = -np.inf
    rival = others.max(axis=1) if probabilities.shape[1] > 1 else np.zeros(len(labels))
    quality: Floats = (1 + probabilities[rows, labels] - rival) / 2
    return quality
