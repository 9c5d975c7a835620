"""Sweeps: over knobs of the data and of training, killed, interrupted, with failures, several jobs at a time."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.pipeline import project as projects
from tests.pipeline.project import Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

DENSE = {"ingest__limit": 120, "train__max_epochs": 1, "train__model": "dense"}


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project in which only sweeps have run; each test has learning rates of its own."""
    folder = tmp_path_factory.mktemp("sweeps")
    yield projects.make(folder / "project", DENSE)
    shutil.rmtree(folder)


def sweep(project: Project, *words: str, code: int = 0) -> str:
    done = project.command("python", "-m", "pipeline.sweep", "-m", *words)
    assert done.code == code, done.output
    return done.output


def begin(project: Project, *words: str) -> subprocess.Popen[str]:
    """Starts a sweep in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline.sweep", "-m", *words],
        cwd=project.root,
        env=project.environment(PYTHONUNBUFFERED="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )


def ended(process: subprocess.Popen[str], jobs: int) -> list[str]:
    """Reads a sweep's output until so many jobs have ended."""
    lines = []
    assert process.stdout is not None
    for line in process.stdout:
        lines.append(line)
        if sum(one.startswith("[") for one in lines) == jobs:
            return lines
    raise AssertionError("".join(lines))


def sweep_name(output: str) -> str:
    match = re.search(r"^sweep (\w+): ", output, re.MULTILINE)
    assert match, output
    return match[1]


def parent_and_jobs(project: Project, name: str) -> tuple[list, list]:
    runs = project.runs()
    parents = [run for run in runs if run.data.tags.get("sightline.sweep") == name]
    ids = {run.info.run_id for run in parents}
    return parents, [run for run in runs if run.data.tags.get("mlflow.parentRunId") in ids]


def runs_of(project: Project, stage: str) -> int:
    """The number of times that DVC has run a stage, which its run cache tells."""
    kept = (project.root / ".dvc/cache/runs").glob("*/*/*")
    return sum(f"pipeline.{stage}\n" in path.read_text() for path in kept)


def is_clean(project: Project) -> bool:
    """Whether nothing is left behind of a sweep but its page that git would see, and no slot."""
    slots = list((project.root / ".dvc/tmp/sweeps").glob("*/*"))
    trees = project.check("git", "worktree", "list").output.strip().splitlines()
    return (
        not slots
        and len(trees) == 1
        and not project.check("git", "status", "--porcelain", "--", ".", ":!reports/sweeps").output
    )


def test_a_wider_grid_runs_what_is_new_and_a_job_that_diverges_is_a_failure(swept: Project) -> None:
    sweep(swept, "train.lr=0.02,0.05", "preprocess.size=8")
    output = sweep(swept, "train.lr=0.02,1e9", "preprocess.size=8", code=1)
    assert output.count("known from sweep ") == 1
    assert output.count("failed: training diverged: ") == 1
    parents, _ = parent_and_jobs(swept, sweep_name(output))
    assert [run.info.status for run in parents] == ["FAILED"]
    assert is_clean(swept)


@pytest.mark.full
def test_a_stage_beside_the_training_is_swept_by_what_it_measures(swept: Project) -> None:
    output = sweep(swept, "baseline.methods=[majority],[pixels_logreg]", "baseline.robustness_images=0")
    assert re.search(r"^1  +0\.\d+  methods=\[pixels_logreg\]$", output, re.MULTILINE), output
    parents, jobs = parent_and_jobs(swept, sweep_name(output))
    assert [run.info.status for run in (*parents, *jobs)] == ["FINISHED"] * 3
    assert all("baseline_accuracy" in run.data.metrics for run in jobs)
    assert is_clean(swept)


@pytest.mark.full
def test_stages_after_the_training_are_swept_and_train_once(swept: Project) -> None:
    short = ["baseline.methods=[majority]", "baseline.robustness_images=0", "evaluate.robustness_images=0"]
    short.append("promote.min_class_recall=0")
    words = ["export.int8.enabled=true,false", "promote.min_accuracy=0.0,1.0", "evaluate.explain=false", *short]
    output = sweep(swept, *words, "sweep.metric=[promote_objections,bundle_megabytes,val_loss]")
    assert len(re.findall(r"^ *\d+[ *] ", output, re.MULTILINE)) == 4
    _, jobs = parent_and_jobs(swept, sweep_name(output))
    trained = [run for run in jobs if "sightline.model_sha256" in run.data.tags]
    assert len(trained) == 1
    objections = sorted(run.data.metrics["promote_objections"] for run in jobs if run not in trained)
    assert objections[0] == objections[1] < objections[2] == objections[3]


@pytest.mark.full
def test_killed_and_interrupted_a_sweep_ends_with_all_jobs_ranked_and_each_trained_once(swept: Project) -> None:
    words = ["preprocess.size=8,16", "train.lr=0.003,0.006,0.01", "sweep.jobs=2"]
    process = begin(swept, *words)
    name = sweep_name("".join(ended(process, 2)))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()

    process = begin(swept, *words)
    output = ended(process, 1)
    os.kill(process.pid, signal.SIGINT)
    rest, _ = process.communicate()
    assert process.returncode == 130, rest
    assert sweep_name("".join(output)) == name
    assert f"the same command resumes it: python -m pipeline.sweep -m {words[0]}" in rest

    output = sweep(swept, *words)
    assert sweep_name(output) == name
    assert len(re.findall(r"^ *\d+[ =] ", output, re.MULTILINE)) == 6  # ranked, those of earlier starts as well
    assert f"sightline adopt {name}" in output
    assert f"&viewStateShareKey=sightline-sweep-{name}" in output

    parents, jobs = parent_and_jobs(swept, name)
    assert [run.info.status for run in parents] == ["FINISHED"]
    assert not [metric for metric in parents[0].data.metrics if metric.startswith("best_")]
    done = [run for run in jobs if run.info.status == "FINISHED"]
    assert len({run.data.tags["sightline.sweep_job"] for run in done}) == len(done) == 6
    assert len({run.data.tags["sightline.data_sha256"] for run in done}) == 2
    assert not [run for run in jobs if run.info.status == "RUNNING"]
    assert runs_of(swept, "preprocess") == 2
    assert is_clean(swept)

    best = min(done, key=lambda run: run.data.metrics["best_val_loss"])
    assert swept.check("sightline", "adopt", name).output.endswith("dvc repro makes its model\n")
    again = swept.repro("train")
    assert "Stage 'train' is cached" in again.output
    assert json.loads(swept.read("models/model.json"))["weights_sha256"] == best.data.tags["sightline.model_sha256"]

    # Any run, also one that no sweep knows of.
    (swept.root / ".sightline/sweeps.journal").unlink()
    other = max(done, key=lambda run: run.data.metrics["best_val_loss"])
    assert "dvc repro makes" in swept.check("sightline", "adopt", other.info.run_id).output
    swept.repro("train")
    assert json.loads(swept.read("models/model.json"))["weights_sha256"] == other.data.tags["sightline.model_sha256"]
