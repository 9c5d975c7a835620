"""Tables of an evaluation: suspects as Parquet, and CSV files for `dvc plots`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sightline.core.csv_rows import row_writer
from sightline.imaging import corruptions
from sightline.metrics.base import DIGITS, Labels
from sightline.metrics.calibration import Bin
from sightline.metrics.intervals import wilson
from sightline.metrics.metric import PerClassMetric
from sightline.metrics.metric_table import of_kind
from sightline.metrics.per_class import ClassScore
from sightline.metrics.selective import RiskCoverage
from sightline.stages.evaluate.results import Evaluation, Slice

SUSPECTS_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("suggested", pa.string(), nullable=False),
        pa.field("score", pa.float64(), nullable=False),
    ]
)

CURVE_POINTS = 201
"""Maximum number of points of the risk-coverage curve in its table."""


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Writes a CSV file with Unix line endings, which gives the same bytes on every system."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        write_row = row_writer(stream)
        for row in (header, *rows):
            write_row(row)


def write_confusion(path: Path, labels: Labels, predicted: Labels, classes: Sequence[str]) -> None:
    """Writes one row per test image in the form that DVC's template `confusion` expects: actual, predicted."""
    write_csv(path, ("actual", "predicted"), ((classes[a], classes[p]) for a, p in zip(labels, predicted, strict=True)))


def write_class_table(path: Path, scores: Sequence[ClassScore], classes: Sequence[str]) -> None:
    """Writes one row per class: its counts, then each of its metrics with a 95 % interval."""
    metrics = of_kind(PerClassMetric)
    columns = [f"{name}{end}" for name in metrics for end in ("", "_low", "_high")]
    rows = (
        (
            classes[i],
            i,
            *(s.support, s.predicted, s.correct),
            *(round(v, DIGITS) for name in metrics for v in (s.values[name], *s.intervals[name])),
        )
        for i, s in enumerate(scores)
    )
    write_csv(path, ("class", "index", "support", "predicted", "correct", *columns), rows)


def write_reliability(path: Path, bins: Sequence[Bin]) -> None:
    """Writes one row per bin: its mean confidence, its accuracy with an interval, its number of images."""
    rows = ((*(round(v, DIGITS) for v in (b.confidence, b.accuracy, *b.interval)), b.count) for b in bins)
    write_csv(path, ("confidence", "accuracy", "accuracy_low", "accuracy_high", "images"), rows)


def write_risk_coverage(path: Path, curve: RiskCoverage) -> None:
    """Writes the curve at up to `CURVE_POINTS` evenly spaced coverages, and the threshold that gives each."""
    n = len(curve.risk)
    at = np.unique(np.linspace(0, n - 1, min(n, CURVE_POINTS)).round().astype(int))
    columns = np.column_stack([curve.coverage[at], curve.risk[at], curve.threshold[at]])
    write_csv(path, ("coverage", "risk", "threshold"), columns.round(DIGITS).tolist())


def write_slices(path: Path, slices: Sequence[Slice], worst: Slice | None) -> None:
    """Writes one row per slice; the worst one is marked."""
    header = ("slice", "value", "images", "correct", "accuracy", "accuracy_low", "accuracy_high", "p_value", "worst")
    rows = (
        (
            s.by,
            s.value,
            s.images,
            s.correct,
            *(round(v, DIGITS) for v in (s.accuracy, *s.interval, s.p_value)),
            "yes" if s is worst else "",
        )
        for s in slices
    )
    write_csv(path, header, rows)


def write_robustness(path: Path, evaluation: Evaluation) -> None:
    """Writes one row per corruption and severity, with severity 0 for clean images; only the header if not measured."""
    rows: list[tuple[object, ...]] = []
    if evaluation.robustness is not None:
        n = evaluation.robustness.images
        points = [("none", 0, evaluation.robustness.clean)]
        for name in corruptions.NAMES:
            points += [(name, i, a) for i, a in enumerate(evaluation.robustness.accuracies[name], 1)]
        rows = [(name, i, *(round(v, DIGITS) for v in (a, *wilson(round(a * n), n))), n) for name, i, a in points]
    write_csv(path, ("corruption", "severity", "accuracy", "accuracy_low", "accuracy_high", "images"), rows)


def write_suspects(path: Path, evaluation: Evaluation) -> None:
    """Writes one row per suspected label, most suspect first."""
    found, names = evaluation.suspects, evaluation.classes
    table = pa.table(
        {
            "id": [s.id for s in found],
            "split": [s.split for s in found],
            "label": [names[s.label] for s in found],
            "suggested": [names[s.suggested] for s in found],
            "score": [round(s.score, DIGITS) for s in found],
        },
        schema=SUSPECTS_SCHEMA,
    )
    pq.write_table(table, path)
