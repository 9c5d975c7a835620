"""Scores a model on one split and writes everything that is to be known about it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sightline import files
from sightline.errors import UserError
from sightline.evaluate import plots, report, tables
from sightline.evaluate.config import EvaluateConfig
from sightline.evaluate.style import DARK, LIGHT, Theme
from sightline.metrics import base, classification
from sightline.metrics.base import Floats, Labels
from sightline.metrics.classification import ClassScore
from sightline.shards import Images, ProcessedSet, Split

METRICS = "metrics.json"
PREDICTIONS = "predictions.parquet"
PLOTS = "plots"
FIGURES = "figures"
REPORT = "report.html"

Predict = Callable[[Images], Floats]
"""[n, height, width, channels] uint8 -> [n, K] probabilities."""


def predict_split(predict: Predict, split: Split, batch_size: int) -> Floats:
    """Returns the probabilities [n, K] of a split's images, float64, reading `batch_size` images at a time."""
    batches = (split.images(slice(start, start + batch_size)) for start in range(0, len(split), batch_size))
    return np.concatenate([np.asarray(predict(batch), np.float64) for batch in batches])


def evaluate_split(
    predict: Predict,
    data: ProcessedSet,
    *,
    config: EvaluateConfig,
    out: Path,
    history: Path | None = None,
    model_info: Mapping[str, Any] | None = None,
    split: str = "test",
) -> dict[str, float]:
    """Scores a model on a split, once, and writes its reports.

    Below `out` come `metrics.json`, `predictions.parquet`, the folders `plots` (CSV for `dvc plots`) and `figures`
    (PNG), and `report.html`; the metrics last. The same input gives the same bytes.

    Args:
        predict: The model: images [n, height, width, channels] uint8 -> probabilities [n, K].
        data: The processed set.
        config: The section `evaluate` of the configuration.
        out: The folder of reports; other files in it are left alone.
        history: CSV of the training, a row an epoch: `epoch`, then columns named `train_*` and `val_*`.
        model_info: What to say about the model in the report: name, sizes, digests, settings; nested mappings of
            plain values. Nothing that differs from run to run (dates, run ids, host names, folders).
        split: Which rows to score.

    Returns:
        The numbers of `metrics.json`.

    Raises:
        UserError: If the split has no image.
        ValueError: If `predict` returns something other than probabilities of the set's classes.
    """
    rows = data.split(split)
    if not len(rows):
        raise UserError(f"the split {split!r} of {data.root} has no image: raise preprocess.test_fraction")
    probabilities = predict_split(predict, rows, config.batch_size)
    if probabilities.shape != (len(rows), len(data.classes)):
        raise ValueError(f"the model gave {probabilities.shape} for {len(rows)} images, {len(data.classes)} classes")
    numbers = classification.evaluate(rows.labels, probabilities, config.top_k, config.per_class_limit)
    predicted = base.predictions(probabilities)
    scores = classification.class_scores(rows.labels, predicted, len(data.classes))

    counts = base.confusion(rows.labels, predicted, len(data.classes))
    errors = plots.worst_errors(rows.ids, rows.labels, predicted, probabilities, config.gallery)
    images = rows.images(np.array([error.position for error in errors], np.int64))

    with files.atomic_directory(out / PLOTS) as folder:
        tables.write_confusion(folder / "confusion.csv", rows.labels, predicted, data.classes)
        tables.write_classes(folder / "per_class.csv", scores, data.classes)
        tables.write_roc(folder / "roc.csv", rows.labels, probabilities)
    with files.atomic_file(out / PREDICTIONS) as path:
        tables.write_predictions(path, rows.ids, rows.labels, predicted, probabilities)
    figures = draw(counts, scores, data.classes, plots.read_history(history) if history else {})
    with files.atomic_directory(out / FIGURES) as folder:
        for name, picture in figures.items():
            (folder / f"{name}.png").write_bytes(picture.light)
        if gallery := plots.gallery(errors, images, data.classes, LIGHT):
            (folder / "errors.png").write_bytes(gallery)
    results = report.Results(split, numbers, scores, counts, errors, images, figures, model_info or {})
    files.write_text(out / REPORT, report.render(data, results))
    files.write_json(out / METRICS, numbers)
    return numbers


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
