"""Baseline stage: fits the methods on the training split, scores each on the test split, writes the results."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
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
from sightline.stages.baseline.side_by_side import Team

logger = logging.getLogger(__name__)

SUMMARY = "baselines.json"
CURVE = "learning curve"


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


@dataclass(frozen=True)
class Inputs:
    """The data that every job works on.

    Attributes:
        data: The processed set.
        images: Training images [n, h, w, c] uint8.
        labels: [n] their classes.
        test: The test split.
        pictures: Its images [m, h, w, c] uint8.
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
    """A method that is fitted and scored, or a learning curve: the same bits in every process.

    Attributes:
        name: The method's, or "learning curve".
        data: Folder of the processed set.
        config: The section `baseline` of the configuration.
        raw: Folder written by the ingest stage; None measures nothing on corrupted images.
    """

    name: str
    data: Path
    config: BaselineConfig
    raw: Path | None

    def run(self, out: Path) -> JobAnswer:
        """Does the work in a process of its own."""
        with files.noting(out):  # here, since another process gets an error's text alone
            return self.do(Inputs.load(ProcessedSet(self.data), self.config), out)

    def do(self, inputs: Inputs, out: Path) -> JobAnswer:
        """Does the work; the answers of a method go into the folder `out`."""
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
    """The answer of a job. Attributes: the method's scores; entries of the summary; remarks for the user."""

    result: MethodResult | None
    summary: dict[str, Any]
    notes: tuple[str, ...] = ()


def job_names(config: BaselineConfig) -> list[str]:
    """Returns the names of the jobs: the methods in the order of the configuration, and the learning curve."""
    return [*config.methods, *([CURVE] if config.learning_curve is not None else [])]


def team(config: BaselineConfig) -> Team:
    """Returns worker processes for the jobs; none where a method is known to this process alone."""
    ours = all(METHODS[name].__module__.startswith("sightline.") for name in config.methods)
    return Team(len(job_names(config)) if ours else 1)


def run_methods(
    data: ProcessedSet,
    config: BaselineConfig,
    out: Path,
    raw: Path | None = None,
    workers: Team | None = None,
    report: Callable[[MethodResult], None] | None = None,
) -> list[MethodResult]:
    """Fits and scores the chosen methods.

    The folder `out`, whole or not at all, holds `baselines.json` and `<method>.parquet` with its answers. The same
    input gives the same bytes, whatever the number of processes.

    Args:
        data: The processed set.
        config: The section `baseline` of the configuration.
        out: The folder to write.
        raw: Folder written by the ingest stage, for the reference's errors on corrupted images; without it there are
            none.
        workers: The processes that do it, from `team`; None does it in this one.
        report: Takes each method's scores as they come; None leaves them for the end.

    Returns:
        The methods' scores, in the order of the configuration; of fewer where `config.minutes` were over.

    Raises:
        UserError: If the training or the test split has no image, raw images are missing, or a worker ends.
    """
    if config.methods and config.robustness_images and config.reference not in config.methods:
        logger.info(
            "baseline: %s, the reference on corrupted images, is not among the methods: there will be none",
            config.reference,
        )
    _require_images(data)
    jobs = [Job(name, data.root, config, raw) for name in job_names(config)]
    workers = Team(1) if workers is None else workers
    inputs = None if len(workers) else Inputs.load(data, config)
    answers: dict[str, JobAnswer] = {}
    with files.atomic_directory(out) as folder:

        def alone(job: Job) -> JobAnswer:
            return job.do(inputs or Inputs.load(data, config), folder)

        for job, answer in workers.run(jobs, folder, None if config.minutes is None else 60 * config.minutes, alone):
            answers[job.name] = answer
            for note in answer.notes:
                logger.info("baseline: %s: %s", job.name, note)
            if answer.result is not None and report is not None:
                report(answer.result)
        if missing := ", ".join(job.name for job in jobs if job.name not in answers):
            logger.info("baseline: left out after %g minutes (baseline.minutes): %s", config.minutes, missing)
        done = [answers[job.name] for job in jobs if job.name in answers]
        results = [each.result for each in done if each.result is not None]
        summary: dict[str, Any] = {"reference": config.reference, "corruption_errors": {}}
        for each in done:
            summary |= each.summary
        files.write_json(folder / SUMMARY, {"methods": {each.name: each.summary() for each in results}, **summary})
    return results


def _require_images(data: ProcessedSet) -> None:
    """Raises UserError if there is nothing to fit on or to score."""
    if not len(data.originals("train")):
        raise UserError(f"the split 'train' of {data.root} has no image: lower preprocess.test_fraction")
    if not len(data.split("test")):
        raise UserError(f"the split 'test' of {data.root} has no image: raise preprocess.test_fraction")


def _learning_curve(images: Images, labels: Labels, data: ProcessedSet, config: BaselineConfig) -> Any:
    validation = data.split("val")
    if not len(validation):
        raise UserError("baseline.learning_curve: no image to score it on: raise preprocess.val_fraction, or set null")
    return learning_curve(images, labels, validation, config, len(data.classes))


def training_images(data: ProcessedSet, config: BaselineConfig) -> tuple[Images, Labels]:
    """Returns the training images [n, h, w, c] and labels [n], at most `train_images`.

    Augmented copies are left out: an image and its copy, one in each of two folds, would make the choice of settings
    an easy one.
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
