"""Confident learning: labels that are probably wrong.

Northcutt, Jiang and Chuang (2021), "Confident learning: estimating uncertainty in dataset labels", Journal of
Artificial Intelligence Research 70. The probabilities must be out of sample: of a model that was not trained on these
images, since a network learns wrong labels by heart.
"""

from __future__ import annotations

import numpy as np
from scipy.special import bdtrc

from sightline.metrics.base import Bools, Floats, Labels, predicted_classes

LEVEL = 0.05


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


def suspected(labels: Labels, probabilities: Floats) -> Bools:
    """Returns which images confidently belong to another class than their label's, [n]."""
    confident = confident_classes(labels, probabilities)
    off: Bools = (confident >= 0) & (confident != labels)
    return off


def poor(labels: Labels, probabilities: Floats) -> str:
    """Says why a model is no judge of the labels; nothing where it is one.

    Confident learning takes most labels for right and the model for one that has learned them. Neither can be said of
    a model that these images do not show to be better than always naming one class (exact binomial test, one-sided,
    5 %), nor of one that contradicts more labels than it confirms where it is confident: that tells of the model.

    Args:
        labels: [n] given labels, n >= 1.
        probabilities: [n, K] out of sample.
    """
    n, off = len(labels), int(suspected(labels, probabilities).sum())
    if not off:
        return ""
    right, most = int((predicted_classes(probabilities) == labels).sum()), int(np.bincount(labels).max())
    p = float(bdtrc(right - 1, n, most / n)) if right else 1.0
    hits = f"the model is right on {right} of {n} images"
    if not p < LEVEL:  # NaN, where there is one class, is no evidence
        return (
            f"{hits}, which is not shown to be better than always predicting one class, right on {most} (p = {p:.2g})"
        )
    confirmed = int((confident_classes(labels, probabilities) == labels).sum())
    if off > confirmed:
        return f"{hits}, and where it is confident it contradicts more labels ({off}) than it confirms ({confirmed})"
    return ""


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
