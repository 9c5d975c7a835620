"""The last lines of a run: true of the files, and written once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sightline.core import files
from sightline.datasets import predictions
from sightline.reporting import closing_lines
from sightline.tracking.mlflow_errors import TrackingError


def answers(path: Path, right: int, images: int = 50) -> None:
    labels = np.arange(images) % 2
    predicted = np.where(np.arange(images) < right, labels, 1 - labels)
    path.parent.mkdir(parents=True, exist_ok=True)
    predictions.save_predictions(path, [f"{i:03}" for i in range(images)], labels, predicted, np.eye(2)[predicted])


Make = Callable[[int, int], list[str]]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(closing_lines.ASIDE, raising=False)
    monkeypatch.setattr(closing_lines, "_address", lambda: "somewhere")

    def made(network: int, baseline: int) -> list[str]:
        answers(closing_lines.PREDICTIONS, network)
        answers(closing_lines.BASELINES.with_name("hog_svm.parquet"), baseline)
        answers(closing_lines.BASELINES.with_name("majority.parquet"), 25)
        methods = {"majority": {"accuracy": 0.5}, "hog_svm": {"accuracy": baseline / 50}}
        files.write_json(closing_lines.BASELINES, {"methods": methods})
        files.write_text(closing_lines.MODEL, "weights")
        files.write_text(closing_lines.BUNDLE / "manifest.json", "{}")
        return closing_lines.project_lines()

    return made


def test_without_a_model_there_is_nothing_to_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert closing_lines.project_lines() == []


def test_five_lines(make: Make) -> None:
    assert make(45, 35) == [
        "accuracy   0.9000 (95 % interval 0.7864 to 0.9565) on 50 test images",
        "baselines  the best is hog_svm, 0.7000: the network is better by 20.0 points",
        "report     reports/report.html",
        "MLflow     somewhere",
        "next       sightline serve models/bundle    # try it on your own images",
    ]


@pytest.mark.parametrize(
    ("network", "baseline", "ending", "advice"),
    [
        (46, 45, "better by 2.0 points, which may be chance", "sightline serve"),
        (45, 45, "the network is no better", "sightline serve"),
        (44, 45, "worse by 2.0 points, which may be chance", "sightline serve"),
        (30, 45, "worse by 30.0 points", "sightline preview"),
    ],
)
def test_what_the_baseline_means(make: Make, network: int, baseline: int, ending: str, advice: str) -> None:
    lines = make(network, baseline)
    assert lines[1].endswith(ending)
    assert advice in lines[4]


def lock(text: str) -> None:
    digest = hashlib.md5(closing_lines.PREDICTIONS.read_bytes(), usedforsecurity=False).hexdigest()
    Path("params.yaml").write_text("export: {parity_images: 10}\n")
    closing_lines.DVC_LOCK.write_text(
        f"stages:\n  export:\n    deps:\n    - path: {closing_lines.PREDICTIONS}\n      md5: {text or digest}\n"
        "    params:\n      params.yaml:\n        export:\n          parity_images: 10\n"
    )


def test_the_last_stage_that_runs_writes_them(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    make(45, 35)
    assert closing_lines.of_stage("export") == []  # by hand
    monkeypatch.setenv("DVC_STAGE", "a stage")
    assert len(closing_lines.of_stage("export")) == 5
    assert closing_lines.of_stage("evaluate") == []  # export has never run
    lock("")
    assert len(closing_lines.of_stage("evaluate")) == 5
    Path("params.yaml").write_text("export: {parity_images: 11}\n")
    assert closing_lines.of_stage("evaluate") == []
    lock("0" * 32)
    assert closing_lines.of_stage("evaluate") == []
    monkeypatch.setenv(closing_lines.ASIDE, "1")
    assert closing_lines.of_stage("export") == []


def test_the_address_is_looked_up_once_a_model(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    make(45, 35)
    here = Path.cwd()
    monkeypatch.undo()
    monkeypatch.chdir(here)
    from sightline import tracking

    asked = []
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://user:word@host/mlflow/")
    monkeypatch.setattr(tracking, "connect", lambda: (None, "7"))
    monkeypatch.setattr(tracking, "run_of_model", lambda *_: asked.append(1) or "abc")
    assert closing_lines._address() == closing_lines._address()
    assert closing_lines._address().endswith("host/mlflow/#/experiments/7/runs/abc?workflowType=machine_learning")
    assert "word" not in closing_lines._address()
    assert len(asked) == 1
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert (
        closing_lines._address()
        == "mlflow ui, then http://127.0.0.1:5000/#/experiments/7/runs/abc?workflowType=machine_learning"
    )

    def away() -> None:
        raise TrackingError(OSError("away"))

    monkeypatch.setattr(tracking, "connect", away)
    files.write_text(closing_lines.MODEL, "other weights")
    assert "sightline sync" in closing_lines._address()
