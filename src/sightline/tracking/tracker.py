"""The tracker: the MLflow run that a stage logs to."""

from __future__ import annotations

import functools
import inspect
import json
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

import mlflow
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from sightline.tracking import run_view
from sightline.tracking.mlflow_errors import TrackingError, mlflow_calls
from sightline.tracking.mlflow_store import MAX_PARAM_LENGTH, TEST_TAG
from sightline.tracking.offline_queue import OfflineQueue
from sightline.tracking.open_runs import OpenRun

log = logging.getLogger(__name__)
P = ParamSpec("P")


def _safely(method: Callable[Concatenate[Tracker, P], None]) -> Callable[Concatenate[Tracker, P], None]:
    """Turns a logging failure into a single warning; this call and later ones are queued for `sightline sync`."""
    signature = inspect.signature(method)

    @functools.wraps(method)
    def guarded(self: Tracker, /, *args: P.args, **kwargs: P.kwargs) -> None:
        if self.run_id is not None:
            try:
                with mlflow_calls():
                    method(self, *args, **kwargs)
            except TrackingError as error:
                self.give_up(error)
            else:
                return
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        self.enqueue(method.__name__, {name: value for name, value in bound.arguments.items() if name != "self"})

    return guarded


class Tracker:
    """An MLflow run to log to; once the store has failed, calls are queued for `sightline sync`.

    Args:
        client: A client; None if the store is unavailable.
        run_id: The run's id; None if the store is unavailable.
        logged_epochs: Epochs whose metrics the run already has.
        found_by: Key of the run if it has no id yet; see `OfflineQueue`.
        begun: Whether this process has started or resumed the run, and therefore ends it.
    """

    def __init__(
        self,
        client: mlflow.MlflowClient | None,
        run_id: str | None,
        logged_epochs: Collection[int] = (),
        found_by: Mapping[str, Any] | None = None,
        begun: bool = False,
    ) -> None:
        self._client = client
        self.run_id = run_id
        self._found_by = found_by if run_id is None else {"id": run_id}
        self._queue: OfflineQueue | None = None
        self._logged_epochs = set(logged_epochs)
        self._scored: int | None = None
        self._monitor: SystemMetricsMonitor | None = None
        self._open = OpenRun(run_id) if begun and run_id is not None else None

    @property
    def client(self) -> mlflow.MlflowClient:
        """The client; use it only while `run_id` is not None."""
        if self._client is None:
            raise RuntimeError("not connected")
        return self._client

    def give_up(self, error: TrackingError) -> None:
        """Warns and stops logging."""
        log.warning(
            "tracking: MLflow failed (%s); the stage continues without it, its outputs are complete; %s; then "
            "`sightline sync` sends what it missed",
            error.reason,
            error.remedy,
        )
        self.run_id = None

    def enqueue(self, method: str, arguments: Mapping[str, Any]) -> None:
        """Queues a call that cannot be made now."""
        if self._found_by is None:
            return
        try:
            if self._queue is None:
                self._queue = OfflineQueue(self._found_by)
            self._queue.add(method, arguments)
        except OSError as error:  # includes shutil.Error; a full disk must not stop a training
            log.warning(
                "tracking: the calls that MLflow missed cannot be queued either: %s", error.strerror or "copying"
            )
            self._found_by = None

    @_safely
    def log_params(self, params: Mapping[str, str]) -> None:
        """Logs parameters; values too long for MLflow are truncated."""
        entities = [Param(name, value[:MAX_PARAM_LENGTH]) for name, value in params.items()]
        for start in range(0, len(entities), 100):  # MLflow's limit for a request
            self.client.log_batch(str(self.run_id), params=entities[start : start + 100])

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Logs metrics of one step, up to a thousand per request."""
        self._log_metrics(metrics, step, _now())

    @_safely
    def _log_metrics(self, metrics: Mapping[str, float], step: int, at: int) -> None:
        entities = [Metric(name, value, at, step) for name, value in metrics.items()]
        for start in range(0, len(entities), 1000):
            self.client.log_batch(str(self.run_id), metrics=entities[start : start + 1000])

    @_safely
    def log_curve(self, name: str, values: Sequence[float]) -> None:
        """Logs a metric's values at steps 0, 1, 2, ..."""
        entities = [Metric(name, value, _now(), step) for step, value in enumerate(values)]
        for start in range(0, len(entities), 1000):
            self.client.log_batch(str(self.run_id), metrics=entities[start : start + 1000])

    def log_epoch(self, metrics: Mapping[str, float], epoch: int) -> None:
        """Logs an epoch's metrics, unless they were logged before the training was interrupted."""
        if epoch not in self._logged_epochs:
            self._logged_epochs.add(epoch)
            self.log_metrics(metrics, epoch)

    @_safely
    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Sets tags."""
        self.client.log_batch(str(self.run_id), tags=[RunTag(name, value) for name, value in tags.items()])

    @_safely
    def describe(self, text: str, report: str | None = None) -> None:
        """Sets the description of the run, which MLflow's page shows above its metrics.

        Args:
            text: Markdown.
            report: The artifact to link to.
        """
        run = self.client.get_run(str(self.run_id)).info
        link = f"\n\n[Report]({run_view.link(run.experiment_id, run.run_id, report)})" if report else ""
        self.client.set_tag(run.run_id, MLFLOW_RUN_NOTE, f"{text}{link}")

    def announce(self, stage: str) -> None:
        """Logs the URL of the runs."""
        if self.run_id is not None:
            try:
                with mlflow_calls():
                    experiment = self.client.get_run(self.run_id).info.experiment_id
            except TrackingError as error:
                self.give_up(error)
            else:
                log.info("%s: its run, listed with the others: %s", stage, run_view.address(str(experiment)))

    def count_test(self, digest: str) -> int | None:
        """Counts one more evaluation on a test split, and returns the total number of evaluations on it.

        Each run counts its own evaluations in a tag that names the split; the metric `test_scored_times` is the sum
        over the experiment's runs. A test set that is used again and again becomes a selection set, and its accuracy an
        overestimate.

        Args:
            digest: Digest of the split's images and labels.

        Returns:
            The total; None if MLflow is unavailable.
        """
        self._scored = None
        self._count_test(digest)
        return self._scored

    @_safely
    def _count_test(self, digest: str) -> None:
        run_id, tag = str(self.run_id), f"{TEST_TAG}.{digest[:16]}"
        run = self.client.get_run(run_id)
        others = f"tags.`{tag}` LIKE '%' AND attributes.run_id != '{run_id}'"
        times = int(run.data.tags.get(tag, 0)) + 1
        total = times + sum(
            int(other.data.tags[tag]) for other in all_runs(self.client, run.info.experiment_id, others)
        )
        # The tag is set last: if an earlier call fails, the evaluation is not counted and can be retried.
        self.client.log_metric(run_id, "test_scored_times", total)
        self.client.set_tag(run_id, tag, str(times))
        self._scored = total

    @_safely
    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Logs a file, or a folder with its content."""
        if path.is_dir():
            self.client.log_artifacts(str(self.run_id), str(path), folder)
        else:
            self.client.log_artifact(str(self.run_id), str(path), folder)

    @_safely
    def log_text(self, name: str, text: str) -> None:
        """Logs a text as a file of that name."""
        self.client.log_text(str(self.run_id), text, name)

    @_safely
    def log_dataset(self, name: str, source: Path, digest: str, profile: Mapping[str, Any], context: str) -> None:
        """Logs a dataset as the run's input.

        Args:
            name: The dataset's name.
            source: Its path, relative to the project's root.
            digest: Its content's digest, of which MLflow keeps 36 characters.
            profile: JSON values that describe it, such as the number of images per split.
            context: Its use, such as "training".
        """
        described = {"source": json.dumps({"uri": source.as_posix()}), "profile": json.dumps(profile)}
        dataset = Dataset(name=name, digest=digest[:36], source_type="local", **described)
        inputs = [DatasetInput(dataset, tags=[InputTag("mlflow.data.context", context)])]
        self.client.log_inputs(str(self.run_id), inputs)

    def start_system_metrics(self) -> None:
        """Starts logging the use of CPU, memory, disk, network and GPU every few seconds until `finish`."""
        if self.run_id is not None:
            self._start_system_metrics()

    @_safely
    def _start_system_metrics(self) -> None:
        self._monitor = SystemMetricsMonitor(str(self.run_id), sampling_interval=2, samples_before_logging=1)
        self._monitor.start()

    def _stop_system_metrics(self) -> None:
        monitor, self._monitor = self._monitor, None
        if monitor is not None:
            try:
                with mlflow_calls():
                    monitor.finish()
            except TrackingError as error:
                self.give_up(error)

    def finish(self, status: str = "FINISHED") -> None:
        """Ends the run; `status` is FINISHED, FAILED or KILLED."""
        self._stop_system_metrics()
        self._terminate(status, _now())
        self.close()

    def close(self) -> None:
        """Releases the run and the queue; nothing may be logged afterwards."""
        if self._open is not None:
            self._open.close(ended=self.run_id is not None)
            self._open = None
        if self._queue is not None:
            self._queue.close()

    @_safely
    def _terminate(self, status: str, at: int) -> None:
        self.client.set_terminated(str(self.run_id), status, at)


def _now() -> int:
    """Returns the current time in MLflow's form: milliseconds since 1970."""
    return int(time.time() * 1000)


def all_runs(client: mlflow.MlflowClient, experiment: str, wanted: str) -> list[Run]:
    """Returns all runs of an experiment that match a filter, fetched page by page."""
    found: list[Run] = []
    token: str | None = None
    while True:
        page = client.search_runs([experiment], wanted, max_results=1000, page_token=token)
        found += page
        token = page.token
        if not token:
            return found
