"""Runs that the pipeline leaves in MLflow, and that MLflow's own page finds it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.pipeline.conftest import Base
from tests.pipeline.project import Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_one_run_holds_training_evaluation_and_export(base: Base):
    (run,) = base.project.runs()
    params, metrics, tags = run.data.params, run.data.metrics, run.data.tags
    assert run.info.status == "FINISHED"
    knobs = yaml.safe_load(base.project.read("params.yaml"))
    assert run.info.run_name == f"{knobs['train']['model']} lr={knobs['train']['lr']}"

    assert params["train.lr"] == str(knobs["train"]["lr"])
    assert params["train.model.name"] == knobs["train"]["model"]
    assert params["preprocess.size"] == str(knobs["preprocess"]["size"])
    assert params["ingest.limit"] == "200"
    assert {"train_loss", "val_loss", "val_accuracy", "lr", "best_val_loss"} <= metrics.keys()
    scored = json.loads(base.project.read("reports/metrics.json"))
    assert scored.pop("val_loss") == pytest.approx(metrics["best_val_loss"], abs=1e-4)
    assert {name: metrics[f"test_{name}"] for name in scored} == pytest.approx(scored, abs=1e-4)
    own = [name for name in metrics if not name.startswith("system/")]
    assert len(own) <= 20, "a table of runs that nobody can read"
    assert metrics["latency_ms"] > 0
    assert metrics["megabytes"] > 0

    commit = base.project.check("git", "rev-parse", "HEAD~1").output.strip()  # of before the results
    assert tags["mlflow.source.git.commit"] == commit
    assert tags["git.branch"] == "main"
    assert tags["git.dirty"] == "false"
    assert tags["dvc.stage"] == "train"
    for tag in ("sightline.model_sha256", "sightline.data_sha256"):
        assert re.fullmatch("[0-9a-f]{64}", tags[tag])
    (data,) = run.inputs.dataset_inputs
    assert data.dataset.name == knobs["ingest"]["source"]
    assert tags["sightline.data_sha256"].startswith(data.dataset.digest)

    artifacts = base.project.root / "mlartifacts" / run.info.run_id / "artifacts"
    kept = {str(path.relative_to(artifacts)) for path in artifacts.rglob("*") if path.is_file()}
    expected = {"model/model.safetensors", "model/model.json", "history.csv", "metrics_detail.json", "report.html"}
    assert expected | {"bundle/model.onnx", "bundle/manifest.json"} <= kept
    assert {path for path in kept if path.startswith("figures/")}
    for stage, knob in (("evaluate", "gallery"), ("export", "parity_images")):  # settings at their defaults as well
        settings = json.loads((artifacts / "config" / f"{stage}.json").read_text())
        assert settings[f"{stage}.{knob}"] == str(knobs[stage][knob])
    assert (artifacts / "report.html").read_text() == base.project.read("reports/report.html")


def test_each_baseline_is_a_run(base: Base):
    summary = json.loads(base.project.read("reports/baselines/baselines.json"))["methods"]
    runs = {run.data.tags["sightline.baseline"]: run for run in base.project.runs(baselines=True)}
    assert set(runs) == set(summary) == {"majority", "pixels_logreg"}
    (training,) = base.project.runs()
    for name, run in runs.items():
        assert run.info.status == "FINISHED"
        assert run.data.metrics["test_accuracy"] == pytest.approx(summary[name]["accuracy"])
        assert {"fit_seconds", "predict_seconds", "megabytes", "test_bal_acc"} <= run.data.metrics.keys()
        assert run.data.params["fitted.images"] == str(summary[name]["parameters"]["images"])
        assert run.data.tags["sightline.data_sha256"] == training.data.tags["sightline.data_sha256"]


def test_a_run_says_what_its_data_were_made_with_not_what_is_asked_for_now(project: Project):
    size = yaml.safe_load(project.read("params.yaml"))["preprocess"]["size"]
    project.set(preprocess__size=size + 8, ingest__limit=100)
    project.check("python", "-m", "pipeline.train", "train.seed=7")
    run = project.runs()[0]
    assert run.data.params["train.seed"] == "7"
    assert run.data.params["preprocess.size"] == str(size)
    assert run.data.params["ingest.limit"] == "200"
    # A sweep goes over knobs of the data as well, each with data of its own; a training alone does not make any.
    refusals = {
        "preprocess.size=32": "which does not run here; instead: dvc exp run ",
        "-m ingest.source=folder,idx": "ingest.source.path: has no value; set ingest.path",
    }
    for words, refusal in refusals.items():
        done = project.command("python", "-m", "pipeline.train", *words.split())
        assert done.code == 2
        assert refusal in done.output
    assert len(project.runs()) == 2


@contextlib.contextmanager
def user_interface(project: Project) -> Iterator[str]:
    """Runs `mlflow ui` with no flag but a port, and yields its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = ["mlflow", "ui", "--port", str(port)]
    environment = project.environment(
        MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false", MLFLOW_DISABLE_TELEMETRY="true", MLFLOW_WORKERS="1"
    )
    log = project.root.parent / "ui.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command, cwd=project.root, env=environment, stdout=stream, stderr=stream, start_new_session=True
        )
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 240
        while True:
            try:
                with urllib.request.urlopen(f"{address}/health", timeout=30):  # noqa: S310
                    break
            except OSError as error:
                message = repr(error)
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, f"{message}\n{log.read_text()}"
            time.sleep(0.2)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def ask(address: str, path: str, **body: Any) -> dict[str, Any]:
    request = urllib.request.Request(  # noqa: S310
        f"{address}/api/2.0/mlflow/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        return dict(json.load(answer))


def test_mlflow_ui_in_the_root_shows_the_runs_and_their_files(project: Project):
    (run,) = project.runs()
    with user_interface(project) as address:
        experiments = ask(address, "experiments/search", max_results=10)["experiments"]
        (ours,) = (entry for entry in experiments if entry["name"] == "sightline")
        found = ask(address, "runs/search", experiment_ids=[ours["experiment_id"]])["runs"]
        assert run.info.run_id in {entry["info"]["run_id"] for entry in found}
        url = f"{address}/get-artifact?path=report.html&run_uuid={run.info.run_id}"
        with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310
            assert answer.read() == (project.root / "reports" / "report.html").read_bytes()
