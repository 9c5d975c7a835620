"""Scores a model on one split and writes everything that is to be known about it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sightline import files, predictions
from sightline.evaluate import curves, plots, report, tables
from sightline.evaluate.config import EvaluateConfig
from sightline.evaluate.measure import measure
from sightline.evaluate.results import Evaluation
from sightline.evaluate.style import DARK, LIGHT, Theme
from sightline.metrics.base import Floats, Labels
from sightline.metrics.classification import ClassScore
from sightline.robustness import Predict
from sightline.shards import ProcessedSet

METRICS = "metrics.json"
CALIBRATION = "calibration.json"
PREDICTIONS = "predictions.parquet"
SUSPECTS = "suspects.parquet"
PLOTS = "plots"
FIGURES = "figures"
REPORT = "report.html"


def evaluate_split(
    predict: Predict,
    data: ProcessedSet,
    *,
    config: EvaluateConfig,
    out: Path,
    history: Path | None = None,
    model_info: Mapping[str, Any] | None = None,
    raw: Path | None = None,
    baselines: Path | None = None,
    split: str = "test",
) -> Evaluation:
    """Scores a model on a split, once, and writes its reports.

    Below `out` come `metrics.json`, `calibration.json`, `predictions.parquet`, `suspects.parquet`, the folders `plots`
    (CSV for `dvc plots`) and `figures` (PNG), and `report.html`; the metrics last. The same input gives the same bytes.

    Args:
        predict: The model: images [n, height, width, channels] uint8 -> probabilities [n, K].
        data: The processed set.
        config: The section `evaluate` of the configuration.
        out: The folder of reports; other files in it are left alone.
        history: CSV of the training, a row an epoch: `epoch`, then columns named `train_*` and `val_*`.
        model_info: What to say about the model in the report: name, sizes, digests, settings; nested mappings of
            plain values. Nothing that differs from run to run (dates, run ids, host names, folders).
        raw: Folder written by the ingest stage, for slices and robustness; without it there are none.
        baselines: The baseline stage's `baselines.json`, for the mean corruption error; need not be there.
        split: Which rows to score.

    Raises:
        UserError: If the split has no image, or files do not belong together.
        ValueError: If `predict` returns something other than probabilities of the set's classes.
    """
    found = measure(predict, data, config, raw, baselines, split)
    test = found.test
    errors = plots.worst_errors(test.ids, test.labels, test.predicted, test.probabilities, config.gallery)
    images = data.split(split).images(np.array([error.position for error in errors], np.int64))

    with files.atomic_directory(out / PLOTS) as folder:
        write_plots(folder, found, config)
    with files.atomic_file(out / PREDICTIONS) as path:
        predictions.write(path, test.ids, test.labels, test.predicted, test.probabilities)
    with files.atomic_file(out / SUSPECTS) as path:
        tables.write_suspects(path, found)
    figures = draw(found.counts, found.scores, data.classes, plots.read_history(history) if history else {})
    with files.atomic_directory(out / FIGURES) as folder:
        for name, picture in figures.items():
            (folder / f"{name}.png").write_bytes(picture.light)
        if gallery := plots.gallery(errors, images, data.classes, LIGHT):
            (folder / "errors.png").write_bytes(gallery)
    results = report.Results(
        split, found.numbers, found.scores, found.counts, errors, images, figures, model_info or {}
    )
    files.write_text(out / REPORT, report.render(data, results))
    files.write_json(out / CALIBRATION, calibration(found))
    files.write_json(out / METRICS, dict(found.numbers))
    return found


def write_plots(folder: Path, found: Evaluation, config: EvaluateConfig) -> None:
    """Writes the tables for `dvc plots` and for whoever draws pictures of their own."""
    test, classes = found.test, list(found.classes)
    tables.write_confusion(folder / "confusion.csv", test.labels, test.predicted, classes)
    tables.write_classes(folder / "per_class.csv", found.scores, classes)
    curves.write_curves(folder, test.labels, test.probabilities, classes, config.per_class_limit)
    tables.write_reliability(folder / "reliability.csv", found.bins)
    tables.write_reliability(folder / "reliability_uncalibrated.csv", found.bins_uncalibrated)
    tables.write_risk_coverage(folder / "risk_coverage.csv", found.risk_coverage)
    tables.write_slices(folder / "slices.csv", found.slices, found.worst)
    tables.write_robustness(folder / "robustness.csv", found)


def calibration(found: Evaluation) -> dict[str, float | None]:
    """Returns what a bundle needs to give calibrated probabilities, and to know when to abstain."""
    return {
        "temperature": found.temperature,
        "target_accuracy": found.target_accuracy,
        "threshold": found.abstention.threshold,
        "coverage": found.abstention.coverage,
    }


def draw(
    counts: Labels, scores: Sequence[ClassScore], classes: Sequence[str], history: Mapping[str, Floats]
) -> dict[str, report.Picture]:
    """Returns the report's figures by name, each for light and dark paper."""

    def both(picture: Callable[[Theme], bytes], alt: str, caption: str) -> report.Picture:
        return report.Picture(picture(LIGHT), picture(DARK), alt, caption)

    figures = {
        "confusion_counts": both(
            lambda theme: plots.confusion(counts, classes, theme),
            "Confusion matrix: number of images for each pair of true and predicted class",
            "Rows are true classes; right answers in blue, errors in orange. The shade is the share of the row.",
        ),
        "per_class": both(
            lambda theme: plots.per_class(scores, classes, theme),
            "Bars of precision, recall and F1 for each class; the table below holds the numbers",
            "Precision, recall and F1 of each class.",
        ),
    }
    if len(classes) <= plots.MOST_CELLS_WITH_TEXT:  # beyond, the two pictures are the same
        figures["confusion_rates"] = both(
            lambda theme: plots.confusion(counts, classes, theme, rates=True),
            "Confusion matrix: percent of each true class",
            "The same in percent of each row; the diagonal is the recall.",
        )
    for what in plots.quantities(history):
        title = what.replace("_", " ")
        figures[f"training_{what}"] = both(
            functools.partial(plots.learning_curve, history, what),
            f"{title.capitalize()} by epoch, of training and validation",
            f"{title.capitalize()} by epoch.",
        )
    return figures
