"""Curves over all thresholds: ROC, and precision against recall; one-vs-rest, of each class and of all together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.metrics import precision_recall_curve, roc_curve

from sightline.evaluate.tables import CURVE_POINTS, write_csv
from sightline.metrics.base import DIGITS, Floats, Labels

_GRID = np.linspace(0, 1, CURVE_POINTS)


def decisions(labels: Labels, probabilities: Floats) -> tuple[Labels, Floats]:
    """Returns every (image, class) pair as one decision, [n * K]: is the image of this class, how probable is it?"""
    truth = np.zeros(probabilities.shape, np.int64)
    truth[np.arange(len(labels)), labels] = 1
    return truth.ravel(), probabilities.ravel()


def roc(positive: Labels, scores: Floats) -> tuple[Floats, Floats]:
    """Returns an ROC curve at evenly spaced false positive rates, after a leading (0, 0).

    Args:
        positive: [n] 1 or 0; both occur.
        scores: [n] how probable 1 is.

    Returns:
        False and true positive rates, [CURVE_POINTS + 1] each, whatever n.
    """
    false_rate, true_rate, _ = roc_curve(positive, scores)
    return np.append(0.0, _GRID), np.append(0.0, np.interp(_GRID, false_rate, true_rate))


def precision_recall(positive: Labels, scores: Floats) -> tuple[Floats, Floats]:
    """Returns precision at evenly spaced recalls: of the fewest images that reach the recall, never interpolated.

    Args:
        positive: [n] 1 or 0; 1 occurs.
        scores: [n] how probable 1 is.

    Returns:
        Recalls and precisions, [CURVE_POINTS] each.
    """
    precision, recall, _ = precision_recall_curve(positive, scores)
    # Recall falls; the last point, recall 0 at precision 1, is scikit-learn's own and no threshold's.
    at = np.searchsorted(recall[-2::-1], _GRID - 1e-12)
    return _GRID, precision[-2::-1][at]


def write_curves(folder: Path, labels: Labels, probabilities: Floats, classes: list[str], per_class_limit: int) -> None:
    """Writes `roc.csv` and `precision_recall.csv` of all classes together, and `*_per_class.csv` up to a limit.

    Only the header stands where a curve needs what is not there: two classes, images of the class and of another.
    """
    several = probabilities.shape[1] > 1
    positive, scores = decisions(labels, probabilities)
    for name, curve, header in (
        ("roc", roc, ("fpr", "tpr")),
        ("precision_recall", precision_recall, ("recall", "precision")),
    ):
        points = np.column_stack(curve(positive, scores)).round(DIGITS).tolist() if several else []
        write_csv(folder / f"{name}.csv", header, points)
        rows: list[tuple[object, ...]] = []
        for i in np.unique(labels) if several and len(classes) <= per_class_limit else ():
            one = (labels == i).astype(np.int64)
            if not one.all():
                each = np.column_stack(curve(one, probabilities[:, i])).round(DIGITS).tolist()
                rows += [(classes[i], int(i), *point) for point in each]
        write_csv(folder / f"{name}_per_class.csv", ("class", "index", *header), rows)
