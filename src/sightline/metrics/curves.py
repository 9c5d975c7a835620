"""One-vs-rest ROC and precision-recall curves on a fixed grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import precision_recall_curve, roc_curve

from sightline.metrics.base import Floats, Labels

POINTS = 201

GRID: Floats = np.linspace(0, 1, POINTS)
"""False positive rates of ROC curves, recalls of precision-recall curves."""


@dataclass(frozen=True)
class Curves:
    """The curves of the classes for which they are defined.

    Attributes:
        roc: By class, true positive rates at the false positive rates `GRID`, after a leading 0: [POINTS + 1] each.
        precision: By class, precisions at the recalls `GRID`, [POINTS] each.
    """

    roc: dict[int, Floats]
    precision: dict[int, Floats]

    @property
    def false_rates(self) -> Floats:
        """The false positive rates of the points of `roc`, [POINTS + 1]: a vertical start at 0."""
        return np.append(0.0, GRID)

    @property
    def mean_roc(self) -> Floats:
        """The mean of the classes' ROC curves, [POINTS + 1]."""
        mean: Floats = np.mean(list(self.roc.values()), axis=0)
        return mean

    @property
    def mean_precision(self) -> Floats:
        """The mean of the classes' precision-recall curves, [POINTS]."""
        mean: Floats = np.mean(list(self.precision.values()), axis=0)
        return mean


def curves(labels: Labels, probabilities: Floats) -> Curves:
    """Returns the curves of each class that has images and, for ROC curves, if other classes have images too.

    Args:
        labels: [n] true classes.
        probabilities: [n, K].
    """
    of_roc: dict[int, Floats] = {}
    precision: dict[int, Floats] = {}
    for label in map(int, np.unique(labels)):
        positive = (labels == label).astype(np.int64)
        precision[label] = precision_recall(positive, probabilities[:, label])[1]
        if not positive.all():
            of_roc[label] = roc(positive, probabilities[:, label])[1]
    return Curves(of_roc, precision)


def decisions(labels: Labels, probabilities: Floats) -> tuple[Labels, Floats]:
    """Returns each (image, class) pair as a decision: whether the class is true, its probability, [n * K] each."""
    truth = np.zeros(probabilities.shape, np.int64)
    truth[np.arange(len(labels)), labels] = 1
    return truth.ravel(), probabilities.ravel()


def roc(positive: Labels, scores: Floats) -> tuple[Floats, Floats]:
    """Returns an ROC curve at evenly spaced false positive rates, after a leading (0, 0).

    Args:
        positive: [n] 1 or 0; both occur.
        scores: [n] probabilities of 1.

    Returns:
        False and true positive rates, [POINTS + 1] each, for any n.
    """
    false_rate, true_rate, _ = roc_curve(positive, scores)
    return np.append(0.0, GRID), np.append(0.0, np.interp(GRID, false_rate, true_rate))


def precision_recall(positive: Labels, scores: Floats) -> tuple[Floats, Floats]:
    """Returns precision at evenly spaced recalls, without interpolation: for the fewest images that reach the recall.

    Args:
        positive: [n] 1 or 0; 1 occurs.
        scores: [n] probabilities of 1.

    Returns:
        Recalls and precisions, [POINTS] each.
    """
    precision, recall, _ = precision_recall_curve(positive, scores)
    # Recall is descending; the last point (recall 0, precision 1) is added by scikit-learn and has no threshold.
    at = np.searchsorted(recall[-2::-1], GRID - 1e-12)
    return GRID, precision[-2::-1][at]
