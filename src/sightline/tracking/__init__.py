"""Tracking in MLflow: runs and, in `model_registry.py`, registered models.

Each training has a run; evaluation and export find it by the model's digest (a tag) and add to it. A sweep is a parent
run with a child run per job. Each baseline has a separate run. MLflow never affects a result: if it cannot be reached,
the stage warns and continues.
"""

from __future__ import annotations

import os

# Set before mlflow is imported: no usage reports, and giving up on a dead server after seconds instead of minutes.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "15")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

from sightline.datasets.data_settings import flat_params
from sightline.tracking.find_run import FoundRun, download, find_run
from sightline.tracking.mlflow_errors import TrackingError, mlflow_calls
from sightline.tracking.mlflow_store import (
    BASELINE_TAG,
    DATA_TAG,
    EXPERIMENT,
    INITIAL_TAG,
    MAX_PARAM_LENGTH,
    MODEL_TAG,
    START_TAG,
    SWEEP_JOB_TAG,
    SWEEP_TAG,
    TEST_TAG,
    connect,
    open_store,
    project_root,
    provenance,
)
from sightline.tracking.runs import baseline_run, resume_by_model, run_of_model, start_training, start_trial
from sightline.tracking.sync import sync
from sightline.tracking.tracker import Tracker

__all__ = [
    "BASELINE_TAG",
    "DATA_TAG",
    "EXPERIMENT",
    "INITIAL_TAG",
    "MAX_PARAM_LENGTH",
    "MODEL_TAG",
    "START_TAG",
    "SWEEP_JOB_TAG",
    "SWEEP_TAG",
    "TEST_TAG",
    "FoundRun",
    "Tracker",
    "TrackingError",
    "baseline_run",
    "connect",
    "download",
    "find_run",
    "flat_params",
    "mlflow_calls",
    "open_store",
    "project_root",
    "provenance",
    "resume_by_model",
    "run_of_model",
    "start_training",
    "start_trial",
    "sync",
]
