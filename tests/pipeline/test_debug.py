"""Runs to find a fault: by hand beside the project's model, below DVC as an experiment of that name."""

from __future__ import annotations

import json

import pytest

from tests.pipeline.project import Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.mark.full
def test_a_debug_run_by_hand_leaves_the_model_alone_and_says_where_it_writes(project: Project):
    before = project.outputs()
    done = project.check("python", "-m", "pipeline.train", "train.debug=fast_dev")
    assert "train: train.debug=fast_dev: a debug run; it writes to debug" in done.output
    assert project.outputs() == before
    written = json.loads(project.read("debug/models/model.json"))
    assert written["training"]["debug"]["name"] == "fast_dev"
    assert project.read("debug/reports/history.csv").count("\n") == 2

    done = project.check("python", "-m", "pipeline.train", "++train.debug_options.batches=1")
    assert (
        "train.debug_options: a debug run; it writes to debug" in done.output
    )  # an option's own setting makes it one as well
    assert project.outputs() == before


def test_below_dvc_a_debug_run_is_recorded_and_undone(project: Project):
    before = project.outputs()
    project.set(train__debug="fast_dev")
    done = project.repro("train")
    assert done.ran == ["watch", "train"]
    assert "train.debug=fast_dev: a debug run; models/ contains its model" in done.output
    assert json.loads(project.read("models/model.json"))["training"]["debug"]["name"] == "fast_dev"
    assert not (project.root / "debug").exists()
    project.set(train__debug="none")
    assert project.repro("train").ran == ["watch"]
    assert project.outputs() == before
