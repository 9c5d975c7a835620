"""The search of `sightline init --try`: what is tried, what wins, and what a search that fails leaves behind."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from sightline.cli import app
from sightline.config.compose import compose, read_params, saved_overrides
from sightline.config.sections import check
from sightline.core.errors import UserError
from sightline.datasets import predictions
from sightline.project_setup import budget, doubt_search, params_file
from sightline.project_setup.doubt_search import DoubtSearch
from sightline.project_setup.rules import choose
from sightline.project_setup.transfer import ProbeTrial
from sightline.sweep import command
from sightline.sweep.engine import JOBS
from sightline.sweep.job_ranking import FinishedJob, RankedJob
from sightline.sweep.search_space import read_words
from sightline.sweep.session import SweepOutcome
from tests.project_setup.test_init import draw, environment
from tests.project_setup.test_rules import DIGITS, MACHINE, ODD, PHOTOS

IMAGES = 100


def search_of(**changes: Any) -> DoubtSearch:
    return DoubtSearch.of(choose(dataclasses.replace(PHOTOS, **changes), MACHINE))


def outcome_of(right: dict[str, int], *words: str) -> SweepOutcome:
    """Returns a sweep's outcome, and writes its answers.

    Args:
        right: How many of 100 images each job is right on, by what the job changes.
        words: What all jobs change.
    """
    labels = np.zeros(IMAGES, np.int64)
    for changes, number in right.items():
        predicted = np.where(np.arange(IMAGES) < number, 0, 1)
        path = JOBS / changes / "answers.parquet"
        path.parent.mkdir(parents=True)
        ids = [str(image) for image in range(IMAGES)]
        predictions.write(path, ids, labels, predicted, np.full((IMAGES, 2), 0.5))
    ordered = sorted(right, key=lambda changes: -right[changes])
    ranked = [
        RankedJob(FinishedJob(each, each, {}, {"val_accuracy": right[each] / 100}), None, True) for each in ordered
    ]
    return SweepOutcome(ranked, {each: [*each.split(), *words] for each in right}, [])


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_most_doubtful_choices_are_tried_in_short_trainings_of_valid_settings() -> None:
    assert list(search_of().doubts) == ["preprocess.size", "train.augment"]
    assert list(search_of(trial=ProbeTrial(0.9, 0.8)).doubts) == ["train.recipe"]
    assert list(search_of(noise=20.0, dark=0.9).doubts) == [
        "preprocess.size",
        "preprocess.denoise",
        "preprocess.enhance",
    ]
    chosen = choose(PHOTOS, MACHINE)
    assert search_of().epochs == round(chosen["train.max_epochs"].value / 3)
    within = {key: budget.without_slower(choice) for key, choice in chosen.items()}
    assert list(DoubtSearch.of(within).doubts) == ["train.augment"]


@pytest.mark.parametrize("changes", [DIGITS, ODD, {**ODD, "images": 2000}, {"noise": 20.0, "mirrored": 0.55}])
def test_whatever_is_tried_can_be_trained(changes: dict[str, Any], place: Path) -> None:
    chosen = choose(dataclasses.replace(PHOTOS, **changes), MACHINE)
    Path("params.yaml").write_text(params_file.text(chosen))
    search = DoubtSearch.of(chosen)
    assert search.doubts
    space = read_words(search.words)
    assert space.size == 2 ** len(search.doubts) <= 8
    others = [f"{knob.key}={knob.values[1]}" for knob in space.knobs]
    check(compose([*saved_overrides(read_params()), "ingest/source=folder", "ingest.path=birds", *others]))


def test_what_wins_by_more_than_chance_is_written_with_the_interval(place: Path) -> None:
    search = search_of()
    first, large = "preprocess.size=64 train.augment=standard", "preprocess.size=96 train.augment=standard"
    verdict = doubt_search.judge(search, outcome_of({first: 80, large: 95}, "train.max_epochs=5"))
    assert verdict.changes == ["preprocess.size=96"]
    assert verdict.comments["preprocess.size"].startswith("tried, 64 before; the best of 2 trainings of ")
    assert "right on 0.950, the first choice on 0.800: +0.150 (+0.0" in verdict.comments["preprocess.size"]
    assert verdict.comments["train.augment"].startswith("with flips; mirrored, the nearest neighbour keeps 95% of its")
    assert "tried light: the best of 2" in verdict.comments["train.augment"]


@pytest.mark.parametrize(("right", "why"), [(83, "may be so by chance"), (80, "none of 2"), (60, "none of 2")])
def test_what_cannot_be_told_from_the_first_choice_does_not_win(right: int, why: str, place: Path) -> None:
    first, light = "preprocess.size=64 train.augment=standard", "preprocess.size=64 train.augment=light"
    verdict = doubt_search.judge(search_of(), outcome_of({first: 80, light: right}))
    assert not verdict.changes
    assert why in verdict.summary
    assert "(0.800 on 100" in verdict.summary or "0.830, the first choice on 0.800" in verdict.summary


@pytest.mark.parametrize("ends", ["won", "failed", "interrupted"])
def test_init_keeps_what_won_or_stays_as_the_rules_chose(
    ends: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "test")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "test@localhost")
    before: list[str] = []

    def sweep(words: Sequence[str], advice: bool) -> SweepOutcome:
        assert words == ["-m", "train.augment=standard,light", "train.max_epochs=5", "train.patience=5",
                         "sweep.metric=val_accuracy"]  # fmt: skip
        before.append(Path("params.yaml").read_text())
        if ends == "interrupted":
            raise KeyboardInterrupt
        outcome = outcome_of({"train.augment=standard": 80, "train.augment=light": 95}, "train.max_epochs=5")
        return dataclasses.replace(outcome, failed=["augment=light: diverged"] if ends == "failed" else [])

    monkeypatch.setattr(command, "sweep", sweep)
    draw(place / "shapes", each=10)
    result = CliRunner().invoke(app, ["init", "new", "--images", "shapes", "--try", "train.max_epochs=12"])
    after = (place / "new/params.yaml").read_text()
    log = subprocess.run(["git", "log", "--format=%s"], cwd="new", capture_output=True, text=True, check=True).stdout
    status = subprocess.run(["git", "status", "--short"], cwd="new", capture_output=True, text=True, check=True).stdout
    assert not status
    if ends == "won":
        assert result.exit_code == 0, result.output
        assert "\n  augment: light                    # tried, standard before; the best of 2" in after
        assert "max_epochs: 12" in after
        assert [line for line in after.splitlines() if "augment: light" not in line] == [
            line for line in before[0].splitlines() if "augment: standard" not in line
        ]
        assert log.startswith("Doubtful choices are tried\n")
    else:
        assert result.exit_code == (1 if ends == "failed" else 130)
        assert [after] == before
        assert log.count("\n") == 1
        assert result.stderr.count("\n") == 1
        assert "cd new && python -m sightline.stages sweep -m train.augment=standard,light" in result.stderr
        assert ("augment=light: diverged" if ends == "failed" else "(interrupted)") in result.stderr


@pytest.mark.slow
def test_a_real_search_ends_in_the_comment_of_the_line_that_was_tried(place: Path) -> None:
    draw(place / "shapes", each=10)
    cli = [sys.executable, "-c", "from sightline.cli import main; main()", "init", "new", "--images", "shapes", "--try"]
    env = environment(PYTHONPATH=os.environ.get("PYTHONPATH", ""))
    done = subprocess.run([*cli, "train.max_epochs=1"], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "[2/2] augment=light" in done.stdout
    assert "sightline adopt" not in done.stdout, "it would take the short epochs over as well"
    params = (place / "new/params.yaml").read_text()
    assert "of 2 trainings of 1 epoch " in params
    assert "max_epochs: 1 " in params
    log = subprocess.run(["git", "log", "--format=%s"], cwd="new", capture_output=True, text=True, check=True).stdout
    assert log.startswith("Doubtful choices are tried\n")


def test_a_search_is_refused_before_any_work_where_it_could_not_run(place: Path) -> None:
    draw(place / "shapes", each=10)
    subprocess.run(["git", "init", "--quiet", "outer"], check=True)
    result = CliRunner().invoke(app, ["init", "outer/new", "--images", "shapes", "--try"])
    assert isinstance(result.exception, UserError | SystemExit)
    assert f"outer/new lies in {place}/outer: leave --try out" in f"{result.exception}{result.stderr}"
    assert not (place / "outer/new").exists()
