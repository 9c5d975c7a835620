"""Lookup of runs by id, name or registered model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import mlflow
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT

from sightline.core import credentials
from sightline.core.errors import UserError
from sightline.tracking.mlflow_errors import TrackingError, mlflow_calls
from sightline.tracking.mlflow_store import DATA_TAG, MODEL_TAG, connect

_ABOUT = {MLFLOW_GIT_COMMIT: "commit", MODEL_TAG: "model", DATA_TAG: "data"}


@dataclass(frozen=True)
class FoundRun:
    """A run in the store: its id, its name, and (name, value) of what tells it from others."""

    id: str
    name: str
    about: list[tuple[str, str]]


def find_run(reference: str) -> FoundRun:
    """Finds a run.

    Args:
        reference: A run's id, a run's name, `models:/name@alias` or `models:/name/version`.

    Raises:
        UserError: If there is none, several have that name, or MLflow cannot be reached.
    """
    with _user_errors():
        run = _run(reference)
    about = [(title, str(run.data.tags[tag])) for tag, title in _ABOUT.items() if tag in run.data.tags]
    about += [(name, run.data.params[name]) for name in ("train.model.name", "train.lr") if name in run.data.params]
    return FoundRun(run.info.run_id, str(run.info.run_name), about)


def _run(reference: str) -> Run:
    client, experiment = connect()
    try:
        if match := re.fullmatch(r"models:/([^/@]+)(?:@(.+)|/(\d+))", reference):
            name, alias, version = match.groups()
            get = client.get_model_version_by_alias if alias else client.get_model_version
            return client.get_run(str(get(name, alias or version).run_id))
        if reference.startswith("models:/"):
            raise UserError(f"{reference}: a registered model is models:/name@alias or models:/name/version")
        if re.fullmatch(r"[0-9a-f]{32}", reference):
            return client.get_run(reference)
        return _run_named(client, experiment, reference)
    except MlflowException as error:
        if error.error_code in (ErrorCode.Name(RESOURCE_DOES_NOT_EXIST), ErrorCode.Name(INVALID_PARAMETER_VALUE)):
            raise UserError(
                f"{reference}: no such run or registered model in {credentials.mask(mlflow.get_tracking_uri())}"
            ) from None
        raise


def _run_named(client: mlflow.MlflowClient, experiment: str, name: str) -> Run:
    quoted = f'"{name}"' if "'" in name else f"'{name}'"
    newest_first = ["attributes.start_time DESC"]
    found = client.search_runs([experiment], f"attributes.run_name = {quoted}", order_by=newest_first, max_results=6)
    if not found:
        raise UserError(
            f"{name}: no folder, and no run of that id or name in {credentials.mask(mlflow.get_tracking_uri())}"
        )
    if len(found) > 1:
        ids = ", ".join(run.info.run_id for run in found[:5])
        raise UserError(f"{name}: several runs have this name, give an id; newest first: {ids}")
    return found[0]


def download(run_id: str, artifact: str, folder: Path) -> Path | None:
    """Copies a run's artifact into a folder; returns its path, or None where the run has no such artifact.

    Raises:
        UserError: If MLflow cannot be reached.
    """
    with _user_errors():
        client, _ = connect()
        if artifact not in {file.path for file in client.list_artifacts(run_id)}:
            return None
        return Path(client.download_artifacts(run_id, artifact, str(folder)))


@contextmanager
def _user_errors() -> Iterator[None]:
    try:
        with mlflow_calls():
            yield
    except TrackingError as error:
        raise UserError(f"MLflow failed ({error.why}); {error.remedy}") from None
