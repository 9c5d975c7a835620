"""ROC and precision-recall curves, one class against the rest, on a fixed grid: as small for a million images."""

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
    """The curves of the classes that have them.

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
    """Returns the curves of each class that has images, and for ROC curves has not all of them.

    Between the thresholds an ROC curve is a straight line. Precision at a recall is the highest at that recall or
    beyond (Everingham et al. 2010, "The PASCAL Visual Object Classes challenge", section 4.2), as straight lines would
    be too optimistic.

    Args:
        labels: [n] true classes.
        probabilities: [n, K].
    """
    roc: dict[int, Floats] = {}
    precision: dict[int, Floats] = {}
    for label in map(int, np.unique(labels)):
        truth, scores = labels == label, probabilities[:, label]
        found, reached, _ = precision_recall_curve(truth, scores)
        best = np.maximum.accumulate(found)[::-1]  # recalls fall, so that the best beyond is the best before
        precision[label] = best[np.searchsorted(reached[::-1], GRID - 1e-12, side="left")]
        if not truth.all():
            false_rate, true_rate, _ = roc_curve(truth, scores)
            roc[label] = np.append(0.0, np.interp(GRID, false_rate, true_rate))
    return Curves(roc, precision)
