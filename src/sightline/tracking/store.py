"""Where runs are kept: the store, its names, and what says where a run came from."""

from __future__ import annotations

import getpass
import logging
import os
import subprocess
import sys
from pathlib import Path

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT, MLFLOW_SOURCE_NAME, MLFLOW_USER
from requests.exceptions import RequestException
from sqlalchemy.exc import SQLAlchemyError

from sightline import files
from sightline.project import project_root as project_root  # which callers know from here

EXPERIMENT = "sightline"
MODEL_TAG = "sightline.model_sha256"
DATA_TAG = "sightline.data_sha256"
BASELINE_TAG = "sightline.baseline"
RESULT_TAG = "sightline.result_sha256"
TEST_TAG = "sightline.test_scored"
SWEEP_VARIABLE = "SIGHTLINE_SWEEP_RUN"
FAILURES = (MlflowException, RequestException, SQLAlchemyError, OSError)
MAX_PARAM_LENGTH = 6000


def connect() -> tuple[mlflow.MlflowClient, str]:
    """Connects to the tracking store: MLFLOW_TRACKING_URI, or SQLite in the project's root.

    Returns:
        A client and the id of the experiment (MLFLOW_EXPERIMENT_NAME, or "sightline").
    """
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
    # Two processes that make the database, or the experiment, at the same time would trip over each other.
    with files.waiting_lock("mlflow"):
        root = project_root()
        mlflow.set_tracking_uri(uri or f"sqlite:///{root / 'mlflow.db'}")
        client = mlflow.MlflowClient()
        experiment = client.get_experiment_by_name(name)
        if experiment is not None:
            return client, str(experiment.experiment_id)
        # A server keeps artifacts where it was told to; beside the embedded store they are a folder.
        location = None if uri else str(root / "mlartifacts")
        kind = {"mlflow.experimentKind": "custom_model_development"}  # the web page opens on runs, not on chat traces
        return client, str(client.create_experiment(name, artifact_location=location, tags=kind))


def provenance() -> dict[str, str]:
    """Returns tags that say which code and which DVC stage and experiment made a run."""
    tags = {MLFLOW_SOURCE_NAME: " ".join(["python", "-m", *_module()]), MLFLOW_USER: getpass.getuser()}
    commit = git("rev-parse", "HEAD")
    if commit:
        tags[MLFLOW_GIT_COMMIT] = commit
        tags["git.dirty"] = str(bool(git("status", "--porcelain", "--untracked-files=no"))).lower()
        tags["git.branch"] = git("rev-parse", "--abbrev-ref", "HEAD")
    for variable in ("DVC_STAGE", "DVC_EXP_NAME", "DVC_EXP_BASELINE_REV"):
        if value := os.environ.get(variable):
            tags[variable.lower().replace("_", ".", 1)] = value
    return tags


def _module() -> list[str]:
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return [spec.name] if spec else [Path(sys.argv[0]).name]


def git(*arguments: str) -> str:
    """Returns what git says, or nothing where there is no git or no repository."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
