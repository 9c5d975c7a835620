"""MLflow's store of runs: connection, names of tags, and the provenance of a run."""

from __future__ import annotations

import getpass
import logging
import os
import sys
from pathlib import Path

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT, MLFLOW_SOURCE_NAME, MLFLOW_USER

from sightline.core import git
from sightline.core.project import project_root as project_root  # re-exported for callers
from sightline.tracking import run_view
from sightline.tracking.database import ARTIFACTS, relocate, require_open, sole_migration
from sightline.tracking.mlflow_errors import mlflow_calls
from sightline.tracking.open_runs import close_abandoned
from sightline.tracking.uris import own_uri, store_uri

EXPERIMENT = "sightline"
MODEL_TAG = "sightline.model_sha256"
DATA_TAG = "sightline.data_sha256"
INITIAL_TAG = "sightline.initial_weights"
START_TAG = "sightline.start_from.model_sha256"
BASELINE_TAG = "sightline.baseline"
RESULT_TAG = "sightline.result_sha256"
TEST_TAG = "sightline.test_scored"
EXPERIMENT_TAG = "dvc.exp_name"
OVERRIDES_TAG = "sightline.overrides"
_OURS = "sightline"
SWEEP_TAG = f"{_OURS}.sweep"  # concatenated: as one literal it would count as an import of that package
SWEEP_JOB_TAG = f"{_OURS}.sweep_job"
MAX_PARAM_LENGTH = 6000
_OF_DVC = ("dvc.lock", "reports/metrics.json")
"""Tracked files that `dvc repro` itself writes before or while a run is made: no change of the project."""


def connect() -> tuple[mlflow.MlflowClient, str]:
    """Connects to the tracking store: MLFLOW_TRACKING_URI, or SQLite in the project's root.

    Runs left open by killed processes are ended.

    Returns:
        A client and the id of the experiment (MLFLOW_EXPERIMENT_NAME, or "sightline").

    Raises:
        TrackingError: If the store cannot be opened.
    """
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
    with mlflow_calls(), sole_migration(store_uri()):
        client = open_store()
        experiment = _experiment(client, name)
        run_view.set_view(client, experiment)
        close_abandoned(client)
        return client, experiment


def open_store() -> mlflow.MlflowClient:
    """Opens the tracking store without changing runs or experiments; call it in an `mlflow_calls` block."""
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # it logs long tracebacks; one line is enough
    uri = store_uri()
    require_open(uri)
    if uri == own_uri():
        relocate(project_root() / "mlflow.db", project_root())
    mlflow.set_tracking_uri(uri)
    return mlflow.MlflowClient()


def _experiment(client: mlflow.MlflowClient, name: str) -> str:
    """Returns the id of the experiment with that name, which is created if needed."""
    known = client.get_experiment_by_name(name)
    if known is not None:
        return str(known.experiment_id)
    # A server has its own artifact storage; the embedded store uses a folder in the project's root.
    location = str(project_root() / ARTIFACTS) if store_uri() == own_uri() else None
    kind = {"mlflow.experimentKind": "custom_model_development"}  # the page opens with runs, not chat traces
    try:
        return str(client.create_experiment(name, artifact_location=location, tags=kind))
    except MlflowException:
        known = client.get_experiment_by_name(name)  # another process has just created it
        if known is None:
            raise
        return str(known.experiment_id)


def provenance() -> dict[str, str]:
    """Returns tags with the provenance of a run: code version, DVC stage and DVC experiment."""
    tags = {MLFLOW_SOURCE_NAME: " ".join(["python", "-m", *_module()]), MLFLOW_USER: getpass.getuser()}
    commit = git.answer("rev-parse", "HEAD")
    if commit:
        tags[MLFLOW_GIT_COMMIT] = commit
        tracked = ("--untracked-files=no", "--", ":/", *(f":!{name}" for name in _OF_DVC))
        tags["git.dirty"] = str(bool(git.answer("status", "--porcelain", *tracked))).lower()
        tags["git.branch"] = git.answer("rev-parse", "--abbrev-ref", "HEAD") or ""
    for variable in ("DVC_STAGE", "DVC_EXP_NAME", "DVC_EXP_BASELINE_REV"):
        if value := os.environ.get(variable):
            tags[variable.lower().replace("_", ".", 1)] = value
    return tags


def _module() -> list[str]:
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return [spec.name] if spec else [Path(sys.argv[0]).name]
