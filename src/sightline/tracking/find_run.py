"""Lookup of runs by id, name or registered model."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import mlflow
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT

from sightline.core import credentials
from sightline.core.errors import UserError, ambiguous
from sightline.core.project import project_root
from sightline.tracking.mlflow_errors import mlflow_user_errors
from sightline.tracking.mlflow_store import DATA_TAG, EXPERIMENT_TAG, MODEL_TAG, connect
from sightline.tracking.uris import own_uri, store_uri

SHORTEST = 4  # minimum length of an id's prefix in hexadecimal digits; `sightline runs` prints 7
STAGES = ("train", "baseline", "evaluate", "export")
"""The stages that store all their settings with a run, as `config/<stage>.json`; earlier ones take precedence."""
_ABOUT = {MLFLOW_GIT_COMMIT: "commit", MODEL_TAG: "model", DATA_TAG: "data"}


class NoRunError(UserError):
    """There is no run with that id or name."""


@dataclass(frozen=True)
class FoundRun:
    """A run in the store: its id, name, parameters, tags, and (name, value) pairs that identify it."""

    id: str
    name: str
    about: list[tuple[str, str]]
    params: Mapping[str, str]
    tags: Mapping[str, str]


def find_run(reference: str) -> FoundRun:
    """Finds a run; if several have the name, the newest.

    Args:
        reference: A run's id or a prefix of it, its name, the name of its DVC experiment, `models:/name@alias` or
            `models:/name/version`.

    Raises:
        NoRunError: If there is none.
        UserError: If the prefix is ambiguous, or MLflow cannot be reached.
    """
    with mlflow_user_errors():
        run, others = _run(reference)
    about = [(title, str(run.data.tags[tag])) for tag, title in _ABOUT.items() if tag in run.data.tags]
    if others:
        about.append(("the newest of", f"{others + 1} runs of this name"))
    return FoundRun(run.info.run_id, str(run.info.run_name), about, dict(run.data.params), dict(run.data.tags))


def _run(reference: str) -> tuple[Run, int]:
    """Returns a run, and the number of other runs with its name."""
    database = project_root() / "mlflow.db"
    if store_uri() == own_uri() and not database.exists():  # a lookup should not create one
        raise NoRunError(
            f"{reference}: no folder or commit of that name, and {database} is missing: go to the project's root, or "
            "make a first run (dvc repro)"
        )
    client, experiment = connect()
    try:
        if match := re.fullmatch(r"models:/([^/@]+)(?:@(.+)|/(\d+))", reference):
            name, alias, version = match.groups()
            get = client.get_model_version_by_alias if alias else client.get_model_version
            return client.get_run(str(get(name, alias or version).run_id)), 0
        if reference.startswith("models:/"):
            raise UserError(f"{reference}: a registered model is models:/name@alias or models:/name/version")
        if re.fullmatch(r"[0-9a-f]{32}", reference):
            return client.get_run(reference), 0
        return _run_named(client, experiment, reference)
    except MlflowException as error:
        if error.error_code in (ErrorCode.Name(RESOURCE_DOES_NOT_EXIST), ErrorCode.Name(INVALID_PARAMETER_VALUE)):
            raise NoRunError(
                f"{reference}: no such run or registered model in {credentials.mask(mlflow.get_tracking_uri())}"
            ) from None
        raise


def _run_named(client: mlflow.MlflowClient, experiment: str, name: str) -> tuple[Run, int]:
    quoted = f'"{name}"' if "'" in name else f"'{name}'"
    for key in ("attributes.run_name", f"tags.`{EXPERIMENT_TAG}`"):
        found = client.search_runs([experiment], f"{key} = {quoted}", order_by=["attributes.start_time DESC"])
        if found:
            return found[0], len(found) - 1
    if re.fullmatch(rf"[0-9a-f]{{{SHORTEST},31}}", name):
        found = client.search_runs([experiment], f"attributes.run_id LIKE '{name}%'")
        if len(found) > 1:
            raise ambiguous(name, "runs", [run.info.run_id for run in found])
        if found:
            return found[0], 0
    store = credentials.mask(mlflow.get_tracking_uri())
    raise NoRunError(f"{name}: no folder, commit, or run of that id or name in {store}")


def download(run_id: str, artifact: str, folder: Path) -> Path | None:
    """Copies a run's artifact into a folder; returns its path, or None if the run has no such artifact.

    Raises:
        UserError: If MLflow cannot be reached.
    """
    with mlflow_user_errors():
        client, _ = connect()
        if artifact not in {file.path for file in client.list_artifacts(run_id, artifact.rpartition("/")[0] or None)}:
            return None
        return Path(client.download_artifacts(run_id, artifact, str(folder)))


def all_settings(run_id: str) -> dict[str, str]:
    """Returns all settings of the stages that processed a run's model, flat, as text; empty if none are stored.

    Raises:
        UserError: If MLflow cannot be reached.
    """
    settings: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        for stage in STAGES:
            path = download(run_id, f"config/{stage}.json", Path(folder))
            if path is not None:
                settings = {**json.loads(path.read_bytes()), **settings}
    return settings


def model_files(digest: str, names: Sequence[str]) -> dict[str, bytes] | None:
    """Returns the content of a trained model's files, by name, from the run that trained it.

    Args:
        digest: The model's digest.
        names: The files, from the run's artifacts in `model/`.

    Returns:
        By name, the files' content; None if no run has all of them.

    Raises:
        UserError: If MLflow cannot be reached.
    """
    with mlflow_user_errors():
        client, experiment = connect()
        runs = client.search_runs([experiment], f"tags.`{MODEL_TAG}` = '{digest}'")
    with tempfile.TemporaryDirectory(prefix="sightline-model-") as folder:
        for run in runs:
            paths = [download(run.info.run_id, f"model/{name}", Path(folder)) for name in names]
            found = {name: path.read_bytes() for name, path in zip(names, paths, strict=True) if path is not None}
            if len(found) == len(names):
                return found
    return None
