"""The ranking of jobs and its page: order, intervals, what cannot be told apart, the Pareto front."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from sightline.datasets import predictions
from sightline.sweep.job_ranking import FinishedJob, rank_jobs, ranking_rows
from sightline.sweep.sweep_page import SweepSummary, markdown, render_page

RIGHT = {"a": 95, "b": 94, "c": 60}
"""Answers of 100 that three jobs have right."""


def jobs(folder: Path) -> list[FinishedJob]:
    found = []
    for name, right in RIGHT.items():
        labels = np.zeros(100, np.int64)
        chosen = np.where(np.arange(100) < right, 0.9, 0.2)
        probabilities = np.stack([chosen, 1 - chosen], 1)
        (folder / name).mkdir()
        ids = [f"{i:03}" for i in range(100)]
        predictions.save_predictions(
            folder / name / "answers.parquet", ids, labels, probabilities.argmax(1), probabilities
        )
        loss = float(-np.log(chosen).mean())
        result = {"val_loss": loss, "val_accuracy": right / 100, "megabytes": {"a": 3.0, "b": 1.0, "c": 2.0}[name]}
        found.append(FinishedJob(name, f"lr={name}", {"lr": name}, result, run_id=name * 32))
    return [*found, FinishedJob("d", "lr=d", {"lr": "d"}, {}, pruned=True)]


def test_the_best_first_with_what_the_images_cannot_tell_from_it(tmp_path: Path) -> None:
    for metric in ("val_accuracy", "val_loss"):
        (tmp_path / metric).mkdir()
        ranked = rank_jobs(jobs(tmp_path / metric), [metric], tmp_path / metric)
        assert [each.job.digest for each in ranked] == ["a", "b", "c"]
        assert [each.as_good for each in ranked] == [True, True, False]
        for each in ranked:
            assert each.interval is not None
            assert each.interval[0] < each.job.result[metric] < each.interval[1]
        assert [row[0] for row in ranking_rows(ranked, [metric])] == ["", "1 ", "2=", "3 "]


def test_without_answers_nothing_is_said_to_be_as_good(tmp_path: Path) -> None:
    ranked = rank_jobs(jobs(tmp_path), ["val_loss"], tmp_path / "nowhere")
    assert [each.as_good for each in ranked] == [True, False, False]
    assert [each.interval for each in ranked] == [None] * 3


def test_of_several_metrics_those_stand_out_that_no_other_beats_in_all(tmp_path: Path) -> None:
    ranked = rank_jobs(jobs(tmp_path), ["val_accuracy", "megabytes"], tmp_path)
    assert {each.job.digest: each.as_good for each in ranked} == {"a": True, "b": True, "c": False}


def test_the_page_shows_every_job_and_holds_no_script(tmp_path: Path) -> None:
    ranked = rank_jobs(jobs(tmp_path), ["val_loss"], tmp_path)
    summary = SweepSummary("0a1b", "-m 'train.lr=<b>,c'", ["val_loss"], ranked, 1, ["lr=<i>: diverged"], {"lr": 1.0})
    page = render_page(summary)
    assert len(re.findall(r'<path id="line\d"', page)) == len(re.findall(r'<tr id="row\d"', page)) == 3
    assert "<script" not in page
    assert "&lt;i&gt;: diverged" in page
    assert "1 more were stopped early" in page
    assert "sightline adopt 0a1b" in page
    text = markdown(summary, "7")
    assert f"[lr=a](#/experiments/7/runs/{'a' * 32})" in text
    assert "The validation images cannot tell 1 more from it." in text
    assert render_page(SweepSummary("0a1b", "-m x", ["val_loss"], [], 0, [], {})).count("No job has ended well.") == 1
