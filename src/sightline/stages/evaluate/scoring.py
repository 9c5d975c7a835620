"""Scoring of a model: once on the test split, with temperature and thresholds chosen on the validation split."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sightline.core import progress
from sightline.core.errors import UserError
from sightline.datasets.processed_set import ProcessedSet, Split
from sightline.imaging.transform.pipeline import Transform
from sightline.metrics import base, calibration, classification, selective, suspects
from sightline.metrics.base import DIGITS, Floats, Labels
from sightline.metrics.classification import proportion
from sightline.models.robustness import Predict
from sightline.stages.evaluate import baseline_comparison, corruption_error, novelty_measurement, set_scores, slices
from sightline.stages.evaluate.config import EvaluateConfig
from sightline.stages.evaluate.novelty_measurement import Embedder
from sightline.stages.evaluate.results import Evaluation, Slice, SplitPredictions, Suspect

VALIDATION = "val"


def score_model(
    predict: Predict,
    data: ProcessedSet,
    config: EvaluateConfig,
    raw: Path | None = None,
    baselines: Path | None = None,
    embedder: Embedder | None = None,
    split: str = "test",
) -> Evaluation:
    """Scores a model on one split.

    Temperature and threshold come from the validation split; the scored split is predicted once and influences no
    choice. Slices and robustness need the raw images, and are omitted without them.

    Args:
        predict: The model: images [n, height, width, channels] uint8 -> probabilities [n, K].
        data: The processed set.
        config: The section `evaluate` of the configuration.
        raw: Folder written by the ingest stage.
        baselines: The baseline stage's `baselines.json`, for the comparison and the mean corruption error; may be
            missing.
        embedder: Computes the embeddings for novelty detection; None skips it.
        split: The split to score.

    Raises:
        UserError: If the split has no image, or the raw images do not belong to the set.
        ValueError: If `predict` returns something other than probabilities of the set's classes.
    """
    rows = data.split(split)
    if not len(rows):
        raise UserError(f"the split {split!r} of {data.root} has no images: raise preprocess.test_fraction")
    progress.step("predictions")
    validation_rows = data.split(VALIDATION)
    of_validation = _probabilities(predict, validation_rows, config, data)
    of_test = of_validation if split == VALIDATION else _probabilities(predict, rows, config, data)
    temperature = choose_temperature(validation_rows.labels, of_validation)
    validation = _calibrated(VALIDATION, validation_rows, of_validation, temperature)
    test = _calibrated(split, rows, of_test, temperature)
    abstention = selective.choose_threshold(validation.confidences, validation.correct, config.target_accuracy)
    progress.step("scores and their intervals")
    numbers = classification.classification_metrics(
        test.labels,
        test.probabilities,
        config.top_k,
        config.per_class_limit,
        uncalibrated=test.uncalibrated,
        seed=config.seed,
        resamples=config.resamples,
    )
    numbers |= _of_abstention(test, abstention.threshold)
    sliced: list[Slice] = []
    if raw is not None:
        progress.step("slices")
        bits = Transform.load(data.transform).sample_bits
        properties = slices.properties(raw, rows.ids, config.slices, bits)
        sliced = slices.slices(properties, test.correct, config.slice_min_images)
    worst = slices.worst(sliced)
    if worst is not None:
        numbers |= proportion("worst_slice_accuracy", worst.correct, worst.images)
    sets = set_scores.measure_sets(validation, test, config.conformity_score)
    if sets is not None:
        shown = dict(sets.levels)[set_scores.SHOWN]
        numbers |= proportion("set_coverage", shown.covered, shown.images) | {"set_size": shown.mean_size}
    novel = None
    if embedder is not None:
        progress.step("novelty")
        novel = novelty_measurement.measure_novelty(embedder, data, config.novelty, config.batch_size, rows)
        if novel.fitted is not None:
            numbers |= proportion("novel_share", int(novel.flagged.sum()), len(rows))
        if novel.unknown is not None and len(novel.unknown.judged):
            numbers |= proportion("unknown_refused", novel.unknown.refused, len(novel.unknown.judged))
            numbers["unknown_auroc"] = novel.unknown.auroc(novel.test)
    corrupted = None
    if raw is not None and config.robustness_images:
        progress.step("robustness")
        corrupted = corruption_error.measure_robustness(predict, data, rows, raw, config, baselines)
        numbers |= corruption_error.robustness_numbers(corrupted)
    doubtful, note = find_suspects(validation, test)
    return Evaluation(
        classes=data.classes,
        test=test,
        validation=validation,
        numbers={name: round(value, DIGITS) for name, value in numbers.items()},
        scores=classification.class_scores(test.labels, test.predicted, len(data.classes)),
        counts=base.confusion(test.labels, test.predicted, len(data.classes)),
        temperature=temperature,
        target_accuracy=config.target_accuracy,
        abstention=abstention,
        bins=calibration.reliability(test.confidences, test.correct),
        bins_uncalibrated=calibration.reliability(test.uncalibrated.max(axis=1), test.correct),
        risk_coverage=selective.risk_coverage(test.confidences, test.correct),
        slices=sliced,
        worst=worst,
        robustness=corrupted,
        novelty=novel,
        sets=sets,
        suspects=doubtful,
        suspects_note=note,
        baselines=baseline_comparison.read_comparisons(baselines, test) if baselines and baselines.is_file() else [],
    )


def choose_temperature(labels: Labels, probabilities: Floats) -> float:
    """Returns the temperature fitted to validation images; 1 if they do not support a different value."""
    logits = calibration.log_probabilities(probabilities)
    temperature = round(calibration.fit_temperature(labels, logits), DIGITS)
    return temperature if calibration.is_supported(labels, logits, temperature) else 1.0


def predict_split(predict: Predict, split: Split, batch_size: int) -> Floats:
    """Returns the probabilities [n, K] float64 of a split's n >= 1 images, predicted in batches of `batch_size`."""
    batches = (split.images(slice(start, start + batch_size)) for start in range(0, len(split), batch_size))
    counted = progress.track(batches, "", len(split), each=batch_size)
    return np.concatenate([np.asarray(predict(batch), np.float64) for batch in counted])


def _probabilities(predict: Predict, split: Split, config: EvaluateConfig, data: ProcessedSet) -> Floats:
    num_classes = len(data.classes)
    if not len(split):
        return np.zeros((0, num_classes))
    probabilities = predict_split(predict, split, config.batch_size)
    if probabilities.shape != (len(split), num_classes):
        raise ValueError(f"the model gave {probabilities.shape} for {len(split)} images, {num_classes} classes")
    base.require_probabilities(split.labels, probabilities)
    return probabilities


def _calibrated(name: str, rows: Split, probabilities: Floats, temperature: float) -> SplitPredictions:
    calibrated = calibration.apply_temperature(probabilities, temperature)
    return SplitPredictions(name, rows.ids, rows.labels, calibrated, probabilities)


def _of_abstention(test: SplitPredictions, threshold: float | None) -> dict[str, float]:
    """Returns the share of test images at or above the threshold (coverage), and the accuracy on them."""
    if threshold is None:
        return {}
    answered = test.confidences >= threshold
    numbers = proportion("coverage", int(answered.sum()), len(answered))
    if answered.any():
        numbers |= proportion("selective_accuracy", int(test.correct[answered].sum()), int(answered.sum()))
    return numbers


def find_suspects(*answers: SplitPredictions) -> tuple[list[Suspect], str]:
    """Finds the images whose labels are probably wrong.

    Args:
        answers: Predictions on splits that the model was not trained on.

    Returns:
        The images, most suspect first, then by id; and the reason why there are none if the model is too poor for it.
    """
    labels = np.concatenate([each.labels for each in answers])
    probabilities = np.concatenate([each.probabilities for each in answers])
    if note := suspects.poor(labels, probabilities):
        return [], note
    places = [(each, i) for each in answers for i in range(len(each.ids))]
    scores = suspects.margins(labels, probabilities)
    confident = suspects.confident_classes(labels, probabilities)
    found = [
        Suspect(of.ids[i], of.split, int(of.labels[i]), int(confident[at]), float(scores[at]), i)
        for at in np.flatnonzero(suspects.suspected(labels, probabilities))
        for of, i in [places[at]]
    ]
    return sorted(found, key=lambda s: (round(s.score, DIGITS), s.id)), ""
