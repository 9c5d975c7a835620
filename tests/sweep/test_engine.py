"""The engine: what runs, what is known, what is tried again, and when it ends; trainings are stood in for."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from optuna.trial import TrialState

from sightline.config.location import stage_command
from sightline.core import progress
from sightline.sweep import slots
from sightline.sweep.job import JobOutcome, JobTask
from sightline.sweep.study import VARIABLE, open_storage, pruner_named, study_location
from tests.sweep.fakes import by_rate, make, start

ROOT = Path(__file__).parents[2]


def test_a_failed_job_does_not_end_the_sweep_and_is_tried_again_alone(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("train.lr=0.1,2,0.2",)
    engine, ran = start(monkeypatch, *words)
    assert ran == [0.1, 2, 0.2]
    assert engine.failed == ["lr=2: training diverged"]
    engine, ran = start(monkeypatch, *words)
    assert ran == [2]
    assert engine.failed
    engine, ran = start(monkeypatch, *words, answer=lambda _: JobOutcome("complete", {"val_loss": 0.05}))
    assert ran == [2]
    assert not engine.failed
    assert {job.words: job.result["val_loss"] for job in engine.finished_jobs()} == {
        "lr=0.1": 0.1,
        "lr=2": 0.05,
        "lr=0.2": 0.2,
    }


def test_a_finished_job_runs_in_no_other_sweep_however_it_is_written(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(monkeypatch, "train.lr=0.1,0.2")
    engine, ran = start(monkeypatch, "train.lr=1e-1,0.2,0.3", name="two")
    assert ran == [0.3]
    assert len(engine.finished_jobs()) == 3
    _, ran = start(monkeypatch, "train.lr=0.1,0.2", "train.seed=1", name="three")
    assert ran == [0.1, 0.2]


def test_a_job_is_named_before_its_images_and_its_training_take_their_time(
    project: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "sightline"), progress.stage("sweep"):
        start(monkeypatch, "train.lr=0.1,0.2", "sweep.jobs=1")
    steps = [line.partition("  ")[0] for line in caplog.messages if "lr=" in line]
    assert steps == ["sweep: running lr=0.1", "[1/2] lr=0.1", "sweep: running lr=0.2", "[2/2] lr=0.2"]


def test_a_project_of_ones_own_goes_on_by_the_command_that_it_has_and_by_the_code_that_it_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert stage_command("sweep") == "python -m pipeline.sweep"
    monkeypatch.chdir(tmp_path)
    assert stage_command("sweep") == "python -m sightline.stages sweep"
    monkeypatch.setenv("PYTHONPATH", f"/a{os.pathsep}/b")
    assert slots.slot_environment(Path("/slot"))["PYTHONPATH"].split(os.pathsep) == ["/slot/src", "/slot", "/a", "/b"]


def test_what_ran_when_the_process_was_killed_runs_again(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, study = make("one", "train.lr=0.1,0.2,0.3")
    engine.plan()
    study.ask()  # and no more is heard of it
    _, ran = start(monkeypatch, "train.lr=0.1,0.2,0.3")
    assert sorted(ran) == [0.1, 0.2, 0.3]


def test_a_sweep_over_an_interval_goes_on_to_the_number_of_trials(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    knob = "train.lr=tag(log,interval(1e-3,1))"
    _, first = start(monkeypatch, knob, "sweep.n_trials=4", "sweep.sampler=tpe", "sweep.jobs=2")
    engine, more = start(monkeypatch, knob, "sweep.n_trials=6", "sweep.sampler=tpe", "sweep.jobs=2")
    assert (len(first), len(more)) == (4, 2)
    assert len({*first, *more}) == 6
    assert len(engine.finished_jobs()) == 6


def test_the_time_is_kept_and_what_was_stopped_runs_at_the_next_start(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0  # seconds

    def slowly(task: JobTask) -> JobOutcome:
        nonlocal now
        if float(task.job.config.train.lr) == 0.1:
            return by_rate(task)
        now = 1.5  # as a training that ends its batch and saves
        return JobOutcome("stopped")

    monkeypatch.setattr("sightline.sweep.engine.time", SimpleNamespace(monotonic=lambda: now))
    engine, ran = start(monkeypatch, "train.lr=0.1,0.2,0.3", "sweep.time=1s", answer=slowly)
    assert ran == [0.1, 0.2]
    assert engine.stopped == 1
    assert not engine.failed
    assert sorted(start(monkeypatch, "train.lr=0.1,0.2,0.3")[1]) == [0.2, 0.3]


def test_a_job_that_is_worse_than_others_were_is_pruned(project: Path) -> None:
    import optuna

    engine, study = make("one", "train.lr=0.1,0.2,0.3", "sweep.pruner=median")
    engine.plan()
    pruned = []
    for loss in (0.1, 0.2, 0.9):
        asked = study.ask()
        found = optuna.load_study(
            study_name="one", storage=open_storage(study_location()), pruner=pruner_named("median", 3)
        )  # as a job's process does
        trial = optuna.Trial(found, found.trials[asked.number]._trial_id)
        trial.report(loss, 0)
        pruned.append(trial.should_prune())
        study.tell(asked, TrialState.PRUNED if pruned[-1] else TrialState.COMPLETE, {"val_loss": loss})
    assert pruned == [False, False, True]
    assert len(study.finished()) == 3


SHARED = """
import os, sys, time
from pathlib import Path
import pytest
from tests.sweep.fakes import by_rate, start
def when_both_have_one(task):
    Path(sys.argv[1], str(os.getpid())).touch()
    while len(os.listdir(sys.argv[1])) < 2:
        time.sleep(0.02)
    time.sleep(0.2)
    return by_rate(task)
with pytest.MonkeyPatch.context() as patch:
    engine, ran = start(patch, "train.lr=0.1,0.2,0.3,0.4,0.5,0.6", answer=when_both_have_one)
print(len(ran), *ran)
"""


@pytest.mark.slow
@pytest.mark.parametrize("server", ["postgresql_url", pytest.param("mariadb_url", marks=pytest.mark.full)])
def test_two_machines_share_one_sweep(
    project: Path, tmp_path: Path, server: str, request: pytest.FixtureRequest
) -> None:
    """Two clones, each with a process of its own, and one database."""
    import shutil

    url = request.getfixturevalue(server)
    other = tmp_path / "other"
    other.mkdir()
    shutil.copytree(project / "conf", other / "conf")
    shutil.copy(project / "params.yaml", other)
    began = tmp_path / "began"
    began.mkdir()
    command = [sys.executable, "-c", SHARED, str(began)]
    environment = {**os.environ, VARIABLE: url, "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"}
    processes = []
    for place in (project, other):  # the second joins when the first is at work
        process = subprocess.Popen(command, cwd=place, env=environment, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        while process.poll() is None and len(list(began.iterdir())) < len(processes):
            time.sleep(0.02)
    outputs = [process.communicate(timeout=300)[0].splitlines()[-1].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    ran = [float(rate) for words in outputs for rate in words[1:]]
    assert sorted(ran) == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    assert all(int(words[0]) for words in outputs)


def test_a_database_that_is_not_there_is_one_line(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sightline.core.errors import UserError

    with pytest.raises(UserError) as refused:
        open_storage("postgresql://someone:hunter2@127.0.0.1:1/nothing")
    assert str(refused.value).startswith(f"{VARIABLE}: postgresql://***@127.0.0.1:1/nothing: ")
    assert "hunter2" not in str(refused.value)


def test_what_each_knob_explains_is_known_at_once_also_of_many_values(project: Path) -> None:
    rates = [f"0.{number:03}" for number in range(100, 120)]
    engine, study = make("one", f"train.lr={','.join(rates)}", "train.seed=0,1")
    engine.plan()
    for _ in range(40):
        trial = study.ask()
        study.tell(trial, TrialState.COMPLETE, {"val_loss": float(trial.params["train.lr"])})
    begun = time.process_time()
    shares = study.importances()
    assert time.process_time() - begun < 20  # with a column a value it takes minutes
    assert shares["train.lr"] > 0.9
