"""Scores a model on one split and writes everything that is to be known about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sightline import files
from sightline.contact import draw
from sightline.errors import UserError
from sightline.evaluate import report, tables
from sightline.evaluate.config import EvaluateConfig
from sightline.evaluate.data import STEPS_SHOWN, contact_rows, read_audit
from sightline.evaluate.explain import Explainer
from sightline.evaluate.history import quantities, read_history
from sightline.metrics import base, classification
from sightline.metrics.base import Floats
from sightline.metrics.curves import curves
from sightline.page import figures
from sightline.page.cards import Card, cards, tiles
from sightline.page.examples import Answers
from sightline.plots.gallery import gallery
from sightline.plots.style import LIGHT
from sightline.shards import Images, ProcessedSet, Split

METRICS = "metrics.json"
PREDICTIONS = "predictions.parquet"
PLOTS = "plots"
FIGURES = "figures"
REPORT = "report.html"

TYPICAL = 60
"""Classes whose most typical image is shown, at most."""

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
    raw: Path | None = None,
    explainer: Explainer | None = None,
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
        raw: Folder written by the ingest stage, for its audit and for images before preprocessing.
        explainer: Makes heat maps of what speaks for a class.
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
    classes = data.classes
    if not len(rows):
        raise UserError(f"the split {split!r} of {data.root} has no image: raise preprocess.test_fraction")
    probabilities = predict_split(predict, rows, config.batch_size)
    if probabilities.shape != (len(rows), len(classes)):
        raise ValueError(f"the model gave {probabilities.shape} for {len(rows)} images, {len(classes)} classes")
    numbers = classification.evaluate(rows.labels, probabilities, config.top_k, config.per_class_limit)
    predicted = base.predictions(probabilities)
    answers = Answers(rows.ids, rows.labels, predicted, probabilities)
    scores = classification.class_scores(rows.labels, predicted, len(classes))
    found = curves(rows.labels, probabilities)
    told = read_history(history) if history else {}
    maps = explainer.maps if explainer else None

    with files.atomic_directory(out / PLOTS) as folder:
        tables.write_confusion(folder / "confusion.csv", rows.labels, predicted, classes)
        tables.write_classes(folder / "per_class.csv", scores, classes)
        tables.write_roc(folder / "roc.csv", rows.labels, probabilities)
    with files.atomic_file(out / PREDICTIONS) as path:
        tables.write_predictions(path, rows.ids, rows.labels, predicted, probabilities, classes)
    counts = base.confusion(rows.labels, predicted, len(classes))
    results = report.Results(
        split=split,
        numbers=numbers,
        scores=scores,
        counts=counts,
        figures=figures.of_confusion(counts, classes)
        | figures.of_classes(scores, classes)
        | figures.of_curves(found)
        | figures.of_confidence(probabilities.max(axis=1), rows.labels == predicted)
        | figures.of_training(told, quantities(told)),
        errors=cards(answers.worst_errors(config.gallery), rows, classes, maps),
        uncertain=cards(answers.most_uncertain(config.gallery // 2), rows, classes),
        typical=cards(answers.most_typical(TYPICAL if config.gallery else 0), rows, classes, maps),
        explainer=explainer,
        audit=read_audit(raw) if raw else None,
        contact=contact_rows(data, raw, first_of_each_class(rows)) if raw else (),
        model_info=model_info or {},
    )
    with files.atomic_directory(out / FIGURES) as folder:
        write_figures(folder, results, classes)
    files.write_text(out / REPORT, report.write(data, results))
    files.write_json(out / METRICS, numbers)
    return numbers


def first_of_each_class(rows: Split) -> list[str]:
    """Returns the first id of each of the first classes that the split has."""
    _, places = np.unique(rows.labels, return_index=True)
    return [rows.ids[place] for place in places[:STEPS_SHOWN]]


def write_figures(folder: Path, results: report.Results, classes: list[str]) -> None:
    """Writes the report's pictures as PNG files, for the tracking server and `dvc plots`."""
    for name, picture in results.figures.items():
        (folder / f"{name}.png").write_bytes(picture.light)
    galleries: list[tuple[str, str, Sequence[Card], bool]] = [
        ("errors", "Most certain errors: predicted class and its probability, true class below", results.errors, False),
        ("uncertain", "Most uncertain answers: predicted class and its probability", results.uncertain, False),
        ("typical", "Most typical image of each class", results.typical, False),
        ("explained_errors", "Errors: what speaks for the answer, and for the true class", results.errors, True),
        ("explained_hits", "Right answers, and what speaks for them", results.typical, True),
    ]
    for name, title, shown, heats in galleries:
        if heats and results.explainer is None:
            continue
        if drawn := gallery(tiles(shown, classes, heats), title, LIGHT):
            (folder / f"{name}.png").write_bytes(drawn)
    if results.contact:
        draw(results.contact).save(folder / "preprocessing.png", "PNG")
