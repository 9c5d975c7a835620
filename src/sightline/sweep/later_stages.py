"""The stages after the training as part of a job: DVC runs them in the job's slot, and their metrics are read."""

from __future__ import annotations

import dataclasses
import json
import shutil
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from sightline.config.compose import typed
from sightline.core import files
from sightline.sweep import job_models
from sightline.sweep.config import LATER, PER_EPOCH
from sightline.sweep.extent import SweepExtent
from sightline.sweep.job import JobOutcome, JobTask, SweepJob
from sightline.sweep.job_models import JOBS
from sightline.sweep.search_space import section_of
from sightline.sweep.slots import Slots
from sightline.tracking import runs, sweep_runs
from sightline.tracking.mlflow_store import provenance
from sightline.tracking.tracker import Tracker


class LaterStages:
    """The stages of jobs after the training.

    Args:
        extent: The extent of the jobs.
        metrics: The metrics that the jobs are ranked by.
        slots: Folders for the data.
        parent: The sweep's run.
        tags: Function that returns the tags of a job's run in MLflow from the job's digest.
    """

    def __init__(
        self,
        extent: SweepExtent,
        metrics: Collection[str],
        slots: Slots,
        parent: Tracker,
        tags: Callable[[str], dict[str, str]],
    ) -> None:
        self._extent, self._metrics, self._slots, self._parent, self._tags = extent, metrics, slots, parent, tags
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def run(self, task: JobTask, train: Callable[[JobTask], JobOutcome]) -> JobOutcome:
        """Runs a job whose images exist; jobs with the same training or the same slot wait for each other.

        Args:
            task: The job.
            train: Runs a training.

        Raises:
            UserError: If a stage fails.
        """
        job, result = task.job, {}
        if self._extent.trains:
            lock = job_models.job_lock(JOBS / job.training, lambda: self._slots.stopping)
            with self._locks[job.training], lock:
                trained = self._trained(task, train)
            if trained.state != "complete":
                return trained
            result = trained.result
        with self._locks[job.data]:
            result = {**result, **self._measured(task)}
        self._record(job, result)
        return JobOutcome("complete", result)

    def _trained(self, task: JobTask, train: Callable[[JobTask], JobOutcome]) -> JobOutcome:
        """Trains unless that was done before; then the model is in DVC's cache or in the training's folder."""
        training = task.job.training
        folder = (JOBS / training).absolute()
        result = folder / job_models.RESULT
        if result.is_file():
            ids = sweep_runs.job_runs(self._parent, {training: None})
            if (folder / job_models.ENTERED).is_file() or job_models.fetch_job_model(folder, ids.get(training)):
                return JobOutcome("complete", json.loads(result.read_bytes()))
        words = tuple(word for word in task.job.words if section_of(word) not in LATER)
        outcome = train(
            dataclasses.replace(
                task,
                job=dataclasses.replace(task.job, words=words),
                output=folder,
                answers=folder / "answers.parquet",
                tags=self._tags(training),
                measure_latency="latency_ms" in self._metrics,
            )
        )
        if outcome.state == "complete":
            files.write_json(result, outcome.result)
        return outcome

    def _measured(self, task: JobTask) -> dict[str, float]:
        job, folder = task.job, JOBS / task.job.training
        slot = self._slots.folder(job)
        if self._extent.trains:
            with job_models.job_lock(folder, lambda: self._slots.stopping):
                if not (folder / job_models.ENTERED).is_file():
                    job_models.enter(self._slots, job, folder)
        (slot / "params.yaml").write_text(job.params, encoding="utf-8")
        last = "export" if self._extent.stage == "promote" else self._extent.stage
        self._slots.dvc(slot, "repro", last, log=task.log)
        if (answers := slot / "reports/predictions.parquet").is_file() and last != "baseline":
            task.answers.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(answers, task.answers)
        measured: dict[str, float] = {}
        for stage, names in LATER.items():
            if stage in self._extent.sections and not names.keys().isdisjoint(self._metrics):
                measured |= _READERS[stage](slot, job)
        return measured

    def _record(self, job: SweepJob, result: Mapping[str, float]) -> None:
        """Records the job in its own run, because the model's run collects every evaluation and export of it."""
        name = " ".join(word.lstrip("+") for word in job.words)
        tracker = runs.start_run({**provenance(), **self._tags(job.digest)}, name)
        tracker.log_params(dict(word.lstrip("+").split("=", 1) for word in job.words))
        wanted = {name: value for name, value in result.items() if name in self._metrics or name.startswith("val_")}
        tracker.log_metrics({metric_of_run(name): value for name, value in wanted.items()})
        tracker.finish()


def metric_of_run(metric: str) -> str:
    """Returns the name of a sweep's metric in a job's run."""
    return f"best_{metric}" if metric in PER_EPOCH else metric


def _baseline(slot: Path, _job: SweepJob) -> dict[str, float]:
    methods = json.loads((slot / "reports/baselines/baselines.json").read_bytes())["methods"]
    return {"baseline_accuracy": max(float(method["accuracy"]) for method in methods.values())}


def _evaluate(slot: Path, _job: SweepJob) -> dict[str, float]:
    from sightline.metrics.headline_metrics import headline

    numbers = headline(json.loads((slot / "reports/metrics_detail.json").read_bytes()))
    return {name: value for short, value in numbers.items() if (name := f"test_{short}") in LATER["evaluate"]}


def _export(slot: Path, _job: SweepJob) -> dict[str, float]:
    """Reads the size and measures the latency (which no file records) of the bundle's default network."""
    from sightline.datasets.processed_set import ProcessedSet
    from sightline.predict import manifest
    from sightline.predict.inference_model import open_model
    from sightline.stages.export.latency import latencies

    bundle = slot / "models/bundle"
    form = str(json.loads((bundle / manifest.MANIFEST).read_bytes())["default"])
    split = ProcessedSet(slot / "data/processed").split("val")
    seconds = latencies({form: open_model(bundle, form).probabilities}, split.images(slice(0, 32)))[form][1]
    size = (bundle / manifest.MODELS[form]).stat().st_size
    return {"bundle_megabytes": size / 1e6, "bundle_latency_ms": float(f"{1000 * seconds:.4g}")}


def _promote(slot: Path, job: SweepJob) -> dict[str, float]:
    """Counts the policy's objections to the bundle, without a comparison with the champion."""
    from sightline.promote.config import PromoteConfig
    from sightline.promote.promote import rehearse

    policy = typed(PromoteConfig, job.config.promote, "promote")
    decision = rehearse(slot / "models/bundle", slot / "reports/predictions.parquet", policy, alone=True)
    return {"promote_objections": float(len(decision.reasons))}


_READERS: dict[str, Callable[[Path, SweepJob], dict[str, float]]] = {
    "baseline": _baseline,
    "evaluate": _evaluate,
    "export": _export,
    "promote": _promote,
}
