"""Fixtures of the tests of tracking."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig

from sightline import tracking
from sightline.config.compose import compose
from sightline.core import terminal_log

ROOT = Path(__file__).parents[2]
mlflow = tracking.mlflow_store.mlflow  # MLflow reads its settings at import, and `tracking` sets them before


@pytest.fixture(autouse=True)
def _terminal() -> None:
    """Configures the log as a stage does."""
    terminal_log.configure()


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store with its tables, made once since MLflow takes seconds to make one."""
    path = tmp_path_factory.mktemp("mlflow") / "empty.db"
    mlflow.MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder, without any environment variables that would affect MLflow, DVC or git."""
    for name in list(os.environ):
        if name.startswith(("MLFLOW_TRACKING", "MLFLOW_EXPERIMENT", "MLFLOW_RUN", "DVC_", "GIT_", "SIGHTLINE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def store(project: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of a new empty store, which is also the tracking store."""
    shutil.copy(migrated, project / "mlflow.db")
    uri = f"sqlite:///{project / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    yield mlflow.MlflowClient(tracking_uri=uri)
    mlflow.set_tracking_uri(None)


@pytest.fixture(scope="module")
def config() -> DictConfig:
    return compose(["train.lr=0.02", "train/model=dense"], ROOT / "conf")
