"""Confident learning: which labels are probably wrong?

Northcutt, Jiang and Chuang (2021), "Confident learning: estimating uncertainty in dataset labels", Journal of
Artificial Intelligence Research 70. The probabilities must be out of sample: of a model that was not trained on these
images, since a network learns wrong labels by heart.
"""

from __future__ import annotations

import numpy as np

from sightline.metrics.base import Bools, Floats, Labels


def thresholds(labels: Labels, probabilities: Floats) -> Floats:
    """Returns for each class the mean probability that its own images give it, [K]; infinity for a class without.

    Section 3.1, equation 2: what "confident" means differs from class to class, as models are surer of some.
    """
    means = np.full(probabilities.shape[1], np.inf)
    for label in np.unique(labels):
        means[label] = probabilities[labels == label, label].mean()
    return means


def confident_classes(labels: Labels, probabilities: Floats) -> Labels:
    """Returns the class that each image confidently belongs to, [n] int64; -1 where none.

    Of the classes whose threshold is reached, the most probable; the lowest index where several are.
    """
    # A mean of equal numbers can come out a last bit above them.
    reached = probabilities >= thresholds(labels, probabilities) - 1e-12
    best: Labels = np.where(reached, probabilities, -1.0).argmax(axis=1).astype(np.int64)
    return np.where(reached.any(axis=1), best, -1)


def confident_joint(labels: Labels, probabilities: Floats) -> Labels:
    """Returns counts [K, K] (equation 1): images with the row's label that confidently belong to the column's class."""
    num_classes = probabilities.shape[1]
    joint = np.zeros((num_classes, num_classes), np.int64)
    confident = confident_classes(labels, probabilities)
    known = confident >= 0
    np.add.at(joint, (labels[known], confident[known]), 1)
    return joint


def suspected(labels: Labels, probabilities: Floats) -> Bools:
    """Returns which images stand off the diagonal of the confident joint, [n]."""
    confident = confident_classes(labels, probabilities)
    off: Bools = (confident >= 0) & (confident != labels)
    return off


def margins(labels: Labels, probabilities: Floats) -> Floats:
    """Returns the normalised margin of each label, [n] in 0..1: the lower, the more suspect.

    The probability of the label minus the largest of another class (the paper's ranking by normalised margin), moved
    to 0..1. Images are ranked by it, whether suspected or not.

    >>> margins(np.array([0, 1]), np.array([[0.75, 0.25], [0.75, 0.25]])).tolist()
    [0.75, 0.25]
    """
    rows = np.arange(len(labels))
    others = probabilities.copy()
    others[rows, labels] = -np.inf
    rival = others.max(axis=1) if probabilities.shape[1] > 1 else np.zeros(len(labels))
    quality: Floats = (1 + probabilities[rows, labels] - rival) / 2
    return quality
