"""Sweeps: Hydra's multirun over the train stage, beside DVC."""

from __future__ import annotations

import pytest

from tests.pipeline.project import Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def sweep(project: Project, *words: str, code: int = 0) -> str:
    done = project.command("python", "-m", "pipeline.train", "-m", *words)
    assert done.code == code, done.output
    return done.output


def test_a_sweep_is_one_parent_run_with_a_child_a_job_and_leaves_dvc_alone(project: Project):
    outputs, status = project.outputs(), project.check("dvc", "status").output
    known = {run.info.run_id for run in project.runs()}
    said = sweep(project, "train.lr=0.1,0.01", "train/model=cnn,dense", "train.max_epochs=2")

    new = [run for run in project.runs() if run.info.run_id not in known]
    (parent,) = (run for run in new if "sightline.sweep" in run.data.tags)
    children = [run for run in new if run is not parent]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    assert {(run.data.params["train.lr"], run.data.params["train.model.name"]) for run in children} == {
        ("0.1", "cnn"),
        ("0.1", "dense"),
        ("0.01", "cnn"),
        ("0.01", "dense"),
    }
    assert {run.info.run_name for run in children} == {
        f"train.lr={lr} train/model={model} train.max_epochs=2" for lr in (0.1, 0.01) for model in ("cnn", "dense")
    }
    assert len(children) == 4
    for run in children:
        history = project.mlflow().get_metric_history(run.info.run_id, "val_loss")
        assert [metric.step for metric in history] == [0, 1]
    assert {run.info.status for run in new} == {"FINISHED"}
    assert parent.data.metrics["best_val_loss"] == min(run.data.metrics["best_val_loss"] for run in children)
    assert "4 of 4 jobs done" in said

    (folder,) = (project.root / "multirun").glob("*/*")
    for job in range(4):
        assert (folder / str(job) / "models" / "model.safetensors").is_file()
    assert project.outputs() == outputs
    assert project.check("dvc", "status").output == status
    assert "changed deps" not in status


def test_a_bad_value_in_the_list_stops_the_sweep_before_any_job(project: Project):
    known = len(project.runs())
    outputs = project.outputs()
    said = sweep(project, "train.lr=0.1,fast", code=2)
    assert "train.lr" in said
    assert len(said.strip().splitlines()) == 1
    said = sweep(project, "train/model=cnn,dens", code=2)
    assert said.startswith("train: train.model: no option 'dens'; did you mean 'dense'? allowed: cnn, ")
    assert len(said.strip().splitlines()) == 1
    assert len(project.runs()) == known
    assert not (project.root / "multirun").exists()
    assert project.outputs() == outputs


def test_a_list_of_values_without_the_flag_is_refused(project: Project):
    done = project.command("python", "-m", "pipeline.train", "train.lr=0.1,0.01")
    assert done.code == 2
    assert done.output == "train: train.lr: several values are a sweep, which needs the flag -m\n"
