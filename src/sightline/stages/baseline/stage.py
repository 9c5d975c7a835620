"""Baseline stage: fits the methods on the training split, scores each on the test split, writes the results."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
from threadpoolctl import threadpool_limits

from sightline.core import files, progress
from sightline.core.errors import UserError
from sightline.datasets import predictions
from sightline.datasets.processed_set import Images, ProcessedSet, Split
from sightline.datasets.stratified_sample import stratified_sample
from sightline.metrics.base import DIGITS, Labels, predicted_classes
from sightline.metrics.classification import classification_metrics
from sightline.models.robustness import evaluate_corruptions
from sightline.stages.baseline.config import BaselineConfig
from sightline.stages.baseline.features import BATCH
from sightline.stages.baseline.learning_curve import learning_curve
from sightline.stages.baseline.method import METHODS, BaselineMethod

logger = logging.getLogger(__name__)

SUMMARY = "baselines.json"


@dataclass(frozen=True)
class MethodResult:
    """Scores of one method.

    Attributes:
        name: The method's.
        title: Short description.
        numbers: Metrics on the test split, by name.
        bytes: Of the numbers that it predicts with.
        parameters: The settings that it was fitted with.
        fit_seconds: To tune and fit it, feature extraction included.
        predict_seconds: For all test images.
    """

    name: str
    title: str
    numbers: dict[str, float]
    bytes: int
    parameters: dict[str, Any]
    fit_seconds: float
    predict_seconds: float

    def summary(self) -> dict[str, Any]:
        """Returns what is the same at every run: all but the times."""
        kept = ("accuracy", "accuracy_low", "accuracy_high", "f1_macro")
        numbers = {name: self.numbers[name] for name in kept}
        return {"title": self.title, **numbers, "bytes": self.bytes, "parameters": self.parameters}


def run_methods(data: ProcessedSet, config: BaselineConfig, out: Path, raw: Path | None = None) -> list[MethodResult]:
    """Fits and scores the chosen methods.

    The folder `out`, whole or not at all, holds `baselines.json` and `<method>.parquet` with its answers. The same
    input gives the same bytes.

    Args:
        data: The processed set.
        config: The section `baseline` of the configuration.
        out: The folder to write.
        raw: Folder written by the ingest stage, for the reference's errors on corrupted images; without it there are
            none.

    Returns:
        The methods' scores, in the order of the configuration.

    Raises:
        UserError: If the training or the test split has no image, or raw images are missing.
    """
    images, labels = training_images(data, config)
    if config.methods and config.robustness_images and config.reference not in config.methods:
        logger.info(
            "baseline: %s, the reference on corrupted images, is not among the methods: there will be none",
            config.reference,
        )
    test = data.split("test")
    if not len(test):
        raise UserError(f"the split 'test' of {data.root} has no image: raise preprocess.test_fraction")
    results: list[MethodResult] = []
    summary: dict[str, Any] = {"reference": config.reference, "corruption_errors": {}}
    with files.atomic_directory(out) as folder, fixed_threads(config.threads):
        pictures = test.images()
        for number, name in enumerate(config.methods, 1):
            progress.step(f"{name}, {number} of {len(config.methods)}")
            method = METHODS[name](config, len(data.classes))
            began = time.perf_counter()
            method.fit(images, labels)
            fitted = time.perf_counter()
            results.append(_score(name, method, pictures, test, folder, fitted - began))
            for note in method.notes:
                logger.info("baseline: %s: %s", name, note)
            if name == config.reference and raw is not None and config.robustness_images:
                summary |= _corrupted(method, data, test, raw, config)
        if config.learning_curve is not None:
            summary |= {"learning_curve": _learning_curve(images, labels, data, config)}
        files.write_json(folder / SUMMARY, {"methods": {each.name: each.summary() for each in results}, **summary})
    return results


def _learning_curve(images: Images, labels: Labels, data: ProcessedSet, config: BaselineConfig) -> Any:
    validation = data.split("val")
    if not len(validation):
        raise UserError("baseline.learning_curve: no image to score it on: raise preprocess.val_fraction, or set null")
    return learning_curve(images, labels, validation, config, len(data.classes))


def training_images(data: ProcessedSet, config: BaselineConfig) -> tuple[Images, Labels]:
    """Returns the training images [n, h, w, c] and labels [n], at most `train_images`.

    Augmented copies are left out: an image and its copy, one in each of two folds, would make the choice of settings
    an easy one.

    Raises:
        UserError: If there is none.
    """
    split = data.split("train")
    originals = data.originals("train")
    if not len(originals):
        raise UserError(f"the split 'train' of {data.root} has no image: lower preprocess.test_fraction")
    rows = originals[stratified_sample(split.labels[originals], config.train_images, config.seed, "training")]
    return split.images(rows), split.labels[rows]


def _score(
    name: str, method: BaselineMethod, pictures: Images, test: Split, folder: Path, fit_seconds: float
) -> MethodResult:
    began = time.perf_counter()
    probabilities = method.predict_proba(pictures)
    predict_seconds = time.perf_counter() - began
    predictions.save_predictions(
        folder / f"{name}.parquet", test.ids, test.labels, predicted_classes(probabilities), probabilities
    )
    numbers = classification_metrics(test.labels, probabilities, resamples=0)
    return MethodResult(name, method.title, numbers, method.size, method.parameters(), fit_seconds, predict_seconds)


def _corrupted(
    method: BaselineMethod, data: ProcessedSet, test: Split, raw: Path, config: BaselineConfig
) -> dict[str, Any]:
    """Returns the method's error rates on corrupted test images, and what identifies these."""
    result = evaluate_corruptions(
        method.predict_proba,
        data,
        test,
        raw,
        images=config.robustness_images,
        seed=config.seed,
        batch_size=BATCH,
    )
    rates = {name: [round(rate, DIGITS) for rate in errors] for name, errors in result.error_rates().items()}
    return {"corruption_errors": rates, "corruption_sample": result.sample}


@contextlib.contextmanager
def fixed_threads(number: int) -> Iterator[None]:
    """Fixes the number of threads of the numerical libraries; OpenCV works on whole images in threads of ours."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with threadpool_limits(number):
            yield
    finally:
        cv2.setNumThreads(before)
