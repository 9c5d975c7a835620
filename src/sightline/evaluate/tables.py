"""The tables: predictions as Parquet, and CSV files for `dvc plots`."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.metrics import roc_curve

from sightline.metrics.base import DIGITS, Floats, Labels
from sightline.metrics.classification import ClassScore

ROC_POINTS = 201

PREDICTIONS_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("label", pa.int32(), nullable=False),
        pa.field("predicted", pa.int32(), nullable=False),
        pa.field("probabilities", pa.list_(pa.float32()), nullable=False),
    ]
)


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Writes a CSV file with Unix line ends, the same bytes on every system."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def write_predictions(path: Path, ids: list[str], labels: Labels, predicted: Labels, probabilities: Floats) -> None:
    """Writes one row a test image, in the order given: id, label, predicted, probabilities (a list of K)."""
    table = pa.table(
        {
            "id": ids,
            "label": labels.astype(np.int32),
            "predicted": predicted.astype(np.int32),
            "probabilities": pa.array(list(probabilities.astype(np.float32)), pa.list_(pa.float32())),
        },
        schema=PREDICTIONS_SCHEMA,
    )
    pq.write_table(table, path)


def write_confusion(path: Path, labels: Labels, predicted: Labels, classes: Sequence[str]) -> None:
    """Writes one row a test image, as DVC's template `confusion` wants it: actual, predicted."""
    write_csv(path, ("actual", "predicted"), ((classes[a], classes[p]) for a, p in zip(labels, predicted, strict=True)))


def write_classes(path: Path, scores: Sequence[ClassScore], classes: Sequence[str]) -> None:
    """Writes one row a class: its scores, with 95 % Wilson intervals of precision and recall."""
    header = ("class", "index", "support", "predicted", "correct", "precision", "recall", "f1")
    bounds = ("precision_low", "precision_high", "recall_low", "recall_high")
    rows = (
        (
            classes[i],
            i,
            s.support,
            s.predicted,
            s.correct,
            *(round(v, DIGITS) for v in (s.precision, s.recall, s.f1, *s.precision_interval, *s.recall_interval)),
        )
        for i, s in enumerate(scores)
    )
    write_csv(path, header + bounds, rows)


def roc(labels: Labels, probabilities: Floats) -> tuple[Floats, Floats]:
    """Returns the micro-averaged one-vs-rest ROC curve at evenly spaced false positive rates.

    Every (image, class) pair is one decision: is the image of this class? The curve has `ROC_POINTS` points and a
    leading (0, 0), whatever the number of images.

    Returns:
        False and true positive rates, [ROC_POINTS + 1] each.
    """
    if probabilities.shape[1] < 2:
        raise ValueError("a ROC curve needs at least two classes")
    truth = np.zeros(probabilities.shape, np.int8)
    truth[np.arange(len(labels)), labels] = 1
    false_rate, true_rate, _ = roc_curve(truth.ravel(), probabilities.ravel())
    grid = np.linspace(0, 1, ROC_POINTS)
    return np.append(0.0, grid), np.append(0.0, np.interp(grid, false_rate, true_rate))


def write_roc(path: Path, labels: Labels, probabilities: Floats) -> None:
    """Writes the curve of `roc` as columns fpr, tpr; only the header where there is one class."""
    points = np.column_stack(roc(labels, probabilities)).round(DIGITS).tolist() if probabilities.shape[1] > 1 else []
    write_csv(path, ("fpr", "tpr"), points)
