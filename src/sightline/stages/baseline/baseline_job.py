"""A job of the baseline stage: fits and scores a method, or computes the learning curve."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
from threadpoolctl import threadpool_limits

from sightline.core import files
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

CURVE = "learning curve"


@dataclass(frozen=True)
class MethodResult:
    """Scores of one method.

    Attributes:
        name: The method's name.
        title: Short description.
        numbers: By name, metrics on the test split.
        bytes: Size of the fitted parameters.
        parameters: The settings that it was fitted with.
        fit_seconds: Time to tune and fit it, including feature extraction.
        predict_seconds: Time to predict all test images.
    """

    name: str
    title: str
    numbers: dict[str, float]
    bytes: int
    parameters: dict[str, Any]
    fit_seconds: float
    predict_seconds: float

    def summary(self) -> dict[str, Any]:
        """Returns the reproducible values: the main metrics, without the times."""
        kept = ("accuracy", "accuracy_low", "accuracy_high", "f1_macro")
        numbers = {name: self.numbers[name] for name in kept}
        return {"title": self.title, **numbers, "bytes": self.bytes, "parameters": self.parameters}


@dataclass(frozen=True)
class Inputs:
    """The data that all jobs share.

    Attributes:
        data: The processed set.
        images: Training images [n, h, w, c] uint8.
        labels: [n] classes of the training images.
        test: The test split.
        pictures: Images of the test split, [m, h, w, c] uint8.
    """

    data: ProcessedSet
    images: Images
    labels: Labels
    test: Split
    pictures: Images

    @classmethod
    def load(cls, data: ProcessedSet, config: BaselineConfig) -> Inputs:
        """Reads the images into memory."""
        test = data.split("test")
        return cls(data, *training_images(data, config), test, test.images())


@dataclass(frozen=True)
class Job:
    """A job that fits and scores a method or computes the learning curve, with the same bits in every process.

    Attributes:
        name: The method's name, or "learning curve".
        data: Folder of the processed set.
        config: The section `baseline` of the configuration.
        raw: Folder written by the ingest stage; None skips the evaluation on corrupted images.
    """

    name: str
    data: Path
    config: BaselineConfig
    raw: Path | None

    def run(self, out: Path) -> JobAnswer:
        """Runs the job in a worker process."""
        with files.noting(out):  # here, because only an error's text reaches the parent process
            return self.do(Inputs.load(ProcessedSet(self.data), self.config), out)

    def do(self, inputs: Inputs, out: Path) -> JobAnswer:
        """Runs the job; a method's predictions go into the folder `out`."""
        config, data = self.config, inputs.data
        with fixed_threads(config.threads):
            if self.name == CURVE:
                return JobAnswer(None, {"learning_curve": _learning_curve(inputs.images, inputs.labels, data, config)})
            method = METHODS[self.name](config, len(data.classes))
            began = time.perf_counter()
            method.fit(inputs.images, inputs.labels)
            fitted = time.perf_counter()
            result = _score(self.name, method, inputs.pictures, inputs.test, out, fitted - began)
            measured = self.name == config.reference and config.robustness_images
            corrupted = _corrupted(method, data, inputs.test, self.raw, config) if measured and self.raw else {}
        return JobAnswer(result, corrupted, tuple(method.notes))


@dataclass(frozen=True)
class JobAnswer:
    """The result of a job. Attributes: the method's scores; entries of the summary; remarks for the user."""

    result: MethodResult | None
    summary: dict[str, Any]
    notes: tuple[str, ...] = ()


def _learning_curve(images: Images, labels: Labels, data: ProcessedSet, config: BaselineConfig) -> Any:
    validation = data.split("val")
    if not len(validation):
        raise UserError("baseline.learning_curve: no images to score it on: raise preprocess.val_fraction, or set null")
    return learning_curve(images, labels, validation, config, len(data.classes))


def training_images(data: ProcessedSet, config: BaselineConfig) -> tuple[Images, Labels]:
    """Returns at most `train_images` training images, [n, h, w, c] uint8, and their labels, [n].

    Augmented copies are left out: with an image in one fold and its copy in another, cross-validation would be too
    optimistic.
    """
    split = data.split("train")
    originals = data.originals("train")
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
    """Returns the method's error rates on corrupted test images, and an identifier of the sample."""
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
    """Fixes the number of threads of the numerical libraries; OpenCV gets one, since our own threads call it."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with threadpool_limits(number):
            yield
    finally:
        cv2.setNumThreads(before)
