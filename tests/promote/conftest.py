from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sightline.core import files
from sightline.predict.manifest import sealed
from sightline.promote.config import PromoteConfig
from tests.exported import Project, project  # noqa: F401

POLICY = PromoteConfig(
    name="unnamed",
    min_accuracy=0.5,
    min_class_recall=0.1,
    margin=0.05,
    max_ece=0.5,
    min_parity_images=100,
    max_rejected=0.05,
    max_lost=0.1,
)


@dataclass(frozen=True)
class Candidate:
    """A bundle and its predictions."""

    bundle: Path
    predictions: Path


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with its own tracking store, shared by all tests since making one takes seconds."""
    return tmp_path_factory.mktemp("promote")


@pytest.fixture
def place(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder. The store's URI is absolute, since MLflow caches open stores by URI across folders."""
    for name in ("MLFLOW_EXPERIMENT_NAME", "MLFLOW_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def policy(request: pytest.FixtureRequest, place: Path) -> PromoteConfig:
    """A policy for a registered model that only this test uses."""
    return dataclasses.replace(POLICY, name=request.node.name.replace("/", "-")[:80])


@pytest.fixture
def make(exported: Project, tmp_path: Path) -> Callable[..., Candidate]:
    """Returns a function that makes a bundle whose model is wrong on `wrong` more of the test images."""

    def candidate(name: str = "bundle", wrong: int = 0, images: int | None = None) -> Candidate:
        bundle = shutil.copytree(exported.bundle, tmp_path / name / "bundle")
        predictions = tmp_path / name / "predictions.parquet"
        table = pq.read_table(exported.reports / "predictions.parquet")
        rows = table.to_pylist()[:images]
        right = [row for row in rows if row["predicted"] == row["label"]]
        for row in right[:wrong]:
            row["predicted"] = (row["label"] + 1) % 10
            row["probabilities"] = np.roll(row["probabilities"], 1).tolist()
        pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), predictions)
        manifest = json.loads((bundle / "manifest.json").read_text())
        manifest["lineage"]["predictions_sha256"] = files.sha256_file(predictions)
        files.write_json(bundle / "manifest.json", sealed(manifest))
        return Candidate(bundle, predictions)

    return candidate
