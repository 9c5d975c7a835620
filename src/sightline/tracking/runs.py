"""The MLflow runs of stages: training, evaluation and export of its model, baselines, trials."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode
from omegaconf import DictConfig

from sightline.config import option_settings
from sightline.config.location import conf_folder
from sightline.core import credentials, files
from sightline.datasets.data_settings import flat_params
from sightline.tracking import run_settings
from sightline.tracking.mlflow_errors import TrackingError, mlflow_calls
from sightline.tracking.mlflow_store import (
    BASELINE_TAG,
    MODEL_TAG,
    OVERRIDES_TAG,
    RESULT_TAG,
    connect,
    provenance,
)
from sightline.tracking.tracker import Tracker


def start_training(
    config: DictConfig,
    overrides: Sequence[str] = (),
    marker: Path | None = None,
    data: Mapping[str, str] | None = None,
) -> Tracker:
    """Starts the run of a training, or resumes it.

    Args:
        config: The complete composed configuration. Its train section becomes an artifact of the run, without values
            from the environment and without credentials; settings that differ from the defaults become parameters.
        overrides: The overrides on the command line, stored as a tag, with which a sweep names its best job.
        marker: File that keeps the run's id while the training is unfinished, so that it resumes in the same run.
        data: The settings that the dataset was made with, from `data_settings.load_settings`, which are logged too.
    """
    settings = {**(data or {}), **flat_params(config, "train")}
    tags = provenance()
    begun = marker.read_text().strip() if marker is not None and marker.is_file() else None
    if overrides:
        words = (option_settings.written_word(word, conf_folder()) for word in overrides)
        tags[OVERRIDES_TAG] = credentials.mask(" ".join(words))
    name = run_settings.run_name(settings)
    found_by = {"id": begun} if begun else _new(tags, name)

    def find(client: mlflow.MlflowClient, experiment: str) -> Tracker:
        return (begun and _go_on(client, begun)) or begin_run(client, experiment, tags, name)

    tracker = reach(found_by, find)
    if tracker.run_id == begun is not None:
        return tracker
    tracker.log_params(run_settings.distinct(settings, overrides))
    tracker.log_text(*run_settings.artifact("train", settings))
    if marker is not None and tracker.run_id is not None:
        files.write_text(marker, tracker.run_id)
    return tracker


def reach(found_by: Mapping[str, Any], find: Callable[[mlflow.MlflowClient, str], Tracker]) -> Tracker:
    """Connects and finds or creates a run; if MLflow fails, calls are queued for the run described by `found_by`."""
    try:
        with mlflow_calls():
            return find(*connect())
    except TrackingError as error:
        tracker = Tracker(None, None, found_by=found_by)
        tracker.give_up(error)
        return tracker


def begin_run(client: mlflow.MlflowClient, experiment: str, tags: Mapping[str, str], name: str) -> Tracker:
    """Creates a run."""
    run_id = client.create_run(experiment, tags=dict(tags), run_name=name).info.run_id
    return Tracker(client, run_id, begun=True)


def start_run(tags: Mapping[str, str], name: str) -> Tracker:
    """Starts a run that is not resumed later."""
    return reach(_new(tags, name), lambda client, experiment: begin_run(client, experiment, tags, name))


def _new(tags: Mapping[str, str], name: str) -> dict[str, Any]:
    return {"new": name, "tags": dict(tags)}


def start_trial(name: str, config: DictConfig, data: Mapping[str, str] | None = None) -> Tracker:
    """Starts the run of a trial before training, such as a learning-rate search."""
    tags, title = {**provenance(), "sightline.trial": name}, f"{name} {config.train.model.name}"
    tracker = start_run(tags, title)
    settings = {**(data or {}), **flat_params(config, "train")}
    tracker.log_params(run_settings.distinct(settings))
    tracker.log_text(*run_settings.artifact("train", settings))
    return tracker


def _go_on(client: mlflow.MlflowClient, run_id: str) -> Tracker | None:
    """Reopens a run; returns None if the store no longer has it."""
    try:
        client.update_run(run_id, status="RUNNING")
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
            raise
        return None
    logged = client.get_metric_history(run_id, "train_loss")
    return Tracker(client, run_id, {metric.step for metric in logged}, begun=True)


def resume_by_model(digest: str, tags: Mapping[str, str]) -> Tracker:
    """Finds the run that trained a model and adds to it.

    A model may have no run: if it was restored from DVC's cache, pulled from a remote, or trained while MLflow was
    unavailable. A run is then created for it.

    Args:
        digest: The model's digest.
        tags: Tags of a newly created run.
    """
    found_by = {"model": digest, "tags": dict(tags)}
    return reach(found_by, lambda client, experiment: Tracker(client, run_of_model(client, experiment, digest, tags)))


def baseline_run(
    method: str,
    config: DictConfig,
    fitted: Mapping[str, Any],
    result: Path,
    before: Tracker | None = None,
    data: Mapping[str, str] | None = None,
) -> Tracker:
    """Finds the run of a baseline's result, or creates it.

    The same result of the same configuration always has the same run, even if the stage is run again because it was
    killed between two methods or forced.

    Args:
        method: The baseline's name.
        config: The complete composed configuration. Its baseline section becomes an artifact of the run, and settings
            that differ from the defaults become parameters.
        fitted: The settings that the method was fitted with, which also become parameters.
        result: The file of its predictions.
        before: The previous method's tracker: if that one lost MLflow, this one neither tries nor warns again.
        data: The settings that the dataset was made with, which are logged too.
    """
    settings = {**(data or {}), **flat_params(config, "baseline")}
    of_fit = {f"fitted.{name}": str(value) for name, value in fitted.items()}
    identity = [method, {**settings, **of_fit}, files.sha256_file(result)]
    digest = files.sha256(files.canonical_json(identity).encode())
    tags, name = {**provenance(), BASELINE_TAG: method, RESULT_TAG: digest}, f"baseline {method}"
    if before is not None and before.run_id is None:
        tracker = Tracker(None, None, found_by=_new(tags, name))
        _log_baseline(tracker, settings, of_fit)
        return tracker

    def find(client: mlflow.MlflowClient, experiment: str) -> Tracker:
        found: Sequence[Run] = client.search_runs([experiment], f"tags.`{RESULT_TAG}` = '{digest}'", max_results=1)
        return Tracker(client, found[0].info.run_id) if found else begin_run(client, experiment, tags, name)

    tracker = reach(_new(tags, name), find)
    _log_baseline(tracker, settings, of_fit)
    return tracker


def _log_baseline(tracker: Tracker, settings: Mapping[str, str], fitted: Mapping[str, str]) -> None:
    tracker.log_params({**run_settings.distinct(settings), **fitted})
    tracker.log_text(*run_settings.artifact("baseline", settings))


def run_of_model(client: mlflow.MlflowClient, experiment: str, digest: str, tags: Mapping[str, str]) -> str:
    """Returns the id of the newest run that trained a model, or of a run created for it."""
    found: Sequence[Run] = client.search_runs(
        [experiment], f"tags.`{MODEL_TAG}` = '{digest}'", order_by=["attributes.start_time DESC"], max_results=1
    )
    if found:
        return str(found[0].info.run_id)
    made = client.create_run(experiment, tags={**provenance(), **tags, MODEL_TAG: digest}, run_name="restored model")
    client.set_terminated(made.info.run_id)
    return str(made.info.run_id)
