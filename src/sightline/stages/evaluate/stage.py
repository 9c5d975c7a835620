"""Evaluate stage: scores a model on one split and writes all results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sightline.core import files, progress
from sightline.datasets import predictions
from sightline.datasets.processed_set import ProcessedSet, Split
from sightline.metrics.conformity_scores import DEFAULT
from sightline.models.novelty_detector import save_detector
from sightline.models.robustness import Predict
from sightline.reporting.cards import Card, cards, tiles
from sightline.reporting.contact_sheet import draw_sheet
from sightline.reporting.examples import examples, most_typical, most_uncertain, worst_errors
from sightline.reporting.plots.gallery import draw_gallery
from sightline.reporting.plots.style import LIGHT
from sightline.stages.evaluate import curve_tables, report, tables
from sightline.stages.evaluate.baseline_comparison import read_learning_curve
from sightline.stages.evaluate.config import EvaluateConfig
from sightline.stages.evaluate.dataset_summary import (
    STEPS_SHOWN,
    contact_rows,
    correction_gain,
    read_audit,
    training_rows,
)
from sightline.stages.evaluate.explain import Explainer
from sightline.stages.evaluate.history import read_history
from sightline.stages.evaluate.image_browser import browsed_images
from sightline.stages.evaluate.novelty_measurement import Embedder
from sightline.stages.evaluate.report_figures import report_figures
from sightline.stages.evaluate.results import Evaluation
from sightline.stages.evaluate.scoring import score_model

DETAIL = "metrics_detail.json"
CALIBRATION = "calibration.json"
PREDICTIONS = "predictions.parquet"
SUSPECTS = "suspects.parquet"
NOVELTY = "novelty.npz"
PLOTS = "plots"
FIGURES = "figures"
REPORT = "report.html"

TYPICAL = 60
"""Maximum number of classes whose most typical image is shown."""


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
    explainer: Explainer | None = None,
    embedder: Embedder | None = None,
    split: str = "test",
) -> Evaluation:
    """Scores a model on a split, once, and writes its reports.

    Into `out` it writes `metrics_detail.json` (all metrics), `calibration.json`, `predictions.parquet`,
    `suspects.parquet`, `novelty.npz` (the bundle's novelty detector), the folders `plots` (CSV for `dvc plots`) and
    `figures` (PNG), and `report.html`; the metrics are written last. The same input gives the same bytes.

    Args:
        predict: The model: images [n, height, width, channels] uint8 -> probabilities [n, K].
        data: The processed set.
        config: The section `evaluate` of the configuration.
        out: The folder of reports; other files in it are left alone.
        history: CSV of the training run, one row per epoch: `epoch`, then columns named `train_*` and `val_*`.
        model_info: Facts about the model for the report: name, sizes, digests, settings; nested mappings of
            plain values. Nothing that differs from run to run (dates, run ids, host names, folders).
        raw: Folder written by the ingest stage, for slices, robustness, the audit and the contact sheet; None omits
            them.
        baselines: The baseline stage's `baselines.json`, for the comparison and the mean corruption error; may be
            missing.
        explainer: Makes heat maps of the evidence for a class; None for no heat maps.
        embedder: Computes the embeddings for novelty detection; None skips it.
        split: The split to score.

    Raises:
        UserError: If the split has no image, or files do not belong together.
        ValueError: If `predict` returns something other than probabilities of the set's classes.
    """
    found = score_model(predict, data, config, raw, baselines, embedder, split)
    test, rows, classes = found.test, data.split(split), data.classes
    maps = explainer.maps if explainer else None
    progress.step("figures and heat maps")
    results = report.ReportContent(
        found=found,
        figures=report_figures(found, read_history(history) if history else {}, read_learning_curve(baselines)),
        errors=cards(worst_errors(test, config.gallery), rows, classes, maps),
        uncertain=cards(most_uncertain(test, config.gallery // 2), rows, classes),
        typical=cards(most_typical(test, TYPICAL if config.gallery else 0), rows, classes, maps),
        novel=novel_cards(found, rows, config.gallery // 2),
        browsed=browsed_images(test, rows, classes, report.shown_slices(found), 10 * config.gallery),
        title=config.title,
        augmented=training_rows(data, (model_info or {}).get("training", {})),
        suspects=report.pictured(found.suspects[: config.gallery], data),
        explainer=explainer,
        audit=read_audit(raw) if raw else None,
        correction_gain=correction_gain(raw, test, classes) if raw else None,
        contact=contact_rows(data, raw, first_of_each_class(rows)) if raw else (),
        model_info=model_info or {},
    )
    progress.step("the report")
    with files.atomic_directory(out / PLOTS) as folder:
        write_plots(folder, found, config)
    with files.atomic_file(out / PREDICTIONS) as path:
        predictions.save_predictions(path, test.ids, test.labels, test.predicted, test.probabilities, classes)
    with files.atomic_file(out / SUSPECTS) as path:
        tables.write_suspects(path, found)
    save_detector(found.novelty.fitted if found.novelty else None, out / NOVELTY)
    with files.atomic_directory(out / FIGURES) as folder:
        write_figures(folder, results)
    settings: dict[str, Any] = {"tta": config.tta} if config.tta else {}
    if config.conformity_score != DEFAULT:
        settings["conformity_score"] = config.conformity_score
    files.write_text(out / REPORT, report.render_report(data, results))
    files.write_json(out / CALIBRATION, calibration(found) | settings)
    files.write_json(out / DETAIL, dict(found.numbers))
    return found


def novel_cards(found: Evaluation, rows: Split, count: int) -> list[tuple[Card, float]]:
    """Returns the `count` most novel images with their scores, the most novel first."""
    if found.novelty is None or found.novelty.fitted is None:
        return []
    scores = found.novelty.test
    order = np.argsort(-scores, kind="stable")[:count]
    made = cards(examples(found.test, order), rows, found.classes)
    return [(card, float(scores[card.example.position])) for card in made]


def first_of_each_class(rows: Split) -> list[str]:
    """Returns the first id of each of the first classes that the split has."""
    _, places = np.unique(rows.labels, return_index=True)
    return [rows.ids[place] for place in places[:STEPS_SHOWN]]


def write_plots(folder: Path, found: Evaluation, config: EvaluateConfig) -> None:
    """Writes the tables for `dvc plots` and other plotting tools."""
    test, classes = found.test, list(found.classes)
    tables.write_confusion(folder / "confusion.csv", test.labels, test.predicted, classes)
    tables.write_class_table(folder / "per_class.csv", found.scores, classes)
    curve_tables.write_curves(folder, test.labels, test.probabilities, classes, config.per_class_limit)
    tables.write_reliability(folder / "reliability.csv", found.bins)
    tables.write_reliability(folder / "reliability_uncalibrated.csv", found.bins_uncalibrated)
    tables.write_risk_coverage(folder / "risk_coverage.csv", found.risk_coverage)
    tables.write_slices(folder / "slices.csv", found.slices, found.worst)
    tables.write_robustness(folder / "robustness.csv", found)


def write_figures(folder: Path, results: report.ReportContent) -> None:
    """Writes the report's figures as PNG files, for the tracking server and `dvc plots`."""
    for name, picture in results.figures.items():
        (folder / f"{name}.png").write_bytes(picture.light)
    galleries: list[tuple[str, str, Sequence[Card], bool]] = [
        ("errors", "Most certain errors: predicted class and its probability, true class below", results.errors, False),
        ("uncertain", "Most uncertain predictions: predicted class and its probability", results.uncertain, False),
        ("typical", "Most typical image of each class", results.typical, False),
        ("explained_errors", "Errors: evidence for the predicted and for the true class", results.errors, True),
        ("explained_hits", "Correct predictions, and the evidence for them", results.typical, True),
    ]
    for name, title, shown, heats in galleries:
        if heats and results.explainer is None:
            continue
        if drawn := draw_gallery(tiles(shown, results.found.classes, heats), title, LIGHT):
            (folder / f"{name}.png").write_bytes(drawn)
    if results.contact:
        draw_sheet(results.contact).save(folder / "preprocessing.png", "PNG")
    if results.augmented:
        draw_sheet(results.augmented).save(folder / "augmentation.png", "PNG")


def calibration(found: Evaluation) -> dict[str, float | None]:
    """Returns the content of `calibration.json`: what a bundle needs to calibrate probabilities and to abstain."""
    return {
        "temperature": found.temperature,
        "target_accuracy": found.target_accuracy,
        "threshold": found.abstention.threshold,
        "coverage": found.abstention.coverage,
    }
