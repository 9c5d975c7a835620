"""Baseline stage: fits the methods on the training split, scores each on the test split, writes the results."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sightline.core import files
from sightline.core.errors import UserError
from sightline.datasets.processed_set import ProcessedSet
from sightline.stages.baseline.baseline_job import CURVE, Inputs, Job, JobAnswer, MethodResult
from sightline.stages.baseline.config import BaselineConfig
from sightline.stages.baseline.method import METHODS
from sightline.stages.baseline.side_by_side import Team

logger = logging.getLogger(__name__)

SUMMARY = "baselines.json"


def job_names(config: BaselineConfig) -> list[str]:
    """Returns the names of the jobs: the methods in the order of the configuration, and the learning curve."""
    return [*config.methods, *([CURVE] if config.learning_curve is not None else [])]


def _begun_first(jobs: list[Job], config: BaselineConfig) -> list[Job]:
    """Returns the jobs in the order in which worker processes begin them.

    First the reference, which also answers for corrupted images, then the others from the end of the list, where the
    default has the slow ones: begun last, one of these would keep a single process at work. Where `minutes` may leave
    some out, the order is the configuration's.
    """
    if config.minutes is not None:
        return jobs
    order = jobs[::-1]
    order.sort(key=lambda job: job.name != config.reference)
    return order


def team(config: BaselineConfig) -> Team:
    """Returns worker processes for the jobs; none if a method is registered only in this process."""
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

    The folder `out` is written atomically, with `baselines.json` and each method's predictions in `<method>.parquet`.
    The same input gives the same bytes, regardless of the number of processes.

    Args:
        data: The processed set.
        config: The section `baseline` of the configuration.
        out: The folder to write.
        raw: Folder written by the ingest stage, for the reference's errors on corrupted images; None skips them.
        workers: Worker processes from `team`; None runs everything in this process.
        report: Called with each method's scores as soon as they are available; None for no calls.

    Returns:
        The methods' scores, in the order of the configuration, without those that `config.minutes` left no time for.

    Raises:
        UserError: If the training or the test split has no image, raw images are missing, or a worker dies.
    """
    if config.methods and config.robustness_images and config.reference not in config.methods:
        logger.info(
            "baseline: %s, the reference on corrupted images, is not among the methods, so that there will be none",
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

        order = _begun_first(jobs, config) if len(workers) else jobs
        for job, answer in workers.run(order, folder, None if config.minutes is None else 60 * config.minutes, alone):
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
        raise UserError(f"the split 'train' of {data.root} has no images: lower preprocess.test_fraction")
    if not len(data.split("test")):
        raise UserError(f"the split 'test' of {data.root} has no images: raise preprocess.test_fraction")
