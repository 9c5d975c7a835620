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
mlflow = tracking.mlflow_store.mlflow  # reads its settings at import, which tracking makes first


@pytest.fixture(autouse=True)
def _terminal() -> None:
    """The log as a stage shows it."""
    terminal_log.configure()


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with its tables and nothing in it: MLflow takes seconds to make one."""
    path = tmp_path_factory.mktemp("mlflow") / "empty.db"
    mlflow.MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to run in, with nothing of the surroundings that MLflow, DVC or git would pass on."""
    for name in list(os.environ):
        if name.startswith(("MLFLOW_TRACKING", "MLFLOW_EXPERIMENT", "MLFLOW_RUN", "DVC_", "GIT_", "SIGHTLINE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def store(project: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of an empty store of this test's own, which is the one that is tracked to."""
    shutil.copy(migrated, project / "mlflow.db")
    uri = f"sqlite:///{project / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    yield mlflow.MlflowClient(tracking_uri=uri)
    mlflow.set_tracking_uri(None)


@pytest.fixture(scope="module")
def config() -> DictConfig:
    return compose(["train.lr=0.02", "train/model=dense"], ROOT / "conf")
