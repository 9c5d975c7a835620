"""Tables of the one-vs-rest ROC and precision-recall curves, per class and over all classes together."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sightline.metrics.base import DIGITS, Floats, Labels
from sightline.metrics.curves import decisions, precision_recall, roc
from sightline.stages.evaluate.tables import write_csv


def write_curves(folder: Path, labels: Labels, probabilities: Floats, classes: list[str], per_class_limit: int) -> None:
    """Writes `roc.csv` and `precision_recall.csv` over all classes, and `*_per_class.csv` up to `per_class_limit`.

    A file has only its header, or lacks a class, if the curve is undefined: with a single class, or with images of only
    that class.
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
