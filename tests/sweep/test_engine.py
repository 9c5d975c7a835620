"""The engine: what runs, what is known, what is tried again, and when it ends; trainings are stood in for."""

from __future__ import annotations

import concurrent.futures
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from optuna.trial import TrialState

from sightline.config.location import stage_command
from sightline.core import progress
from sightline.sweep import executors, slots
from sightline.sweep.job import JobOutcome, JobTask
from sightline.sweep.study import pruner_named
from sightline.sweep.study_storage import VARIABLE, open_storage, study_location
from tests.sweep.fakes import FakePlace, by_rate, make, start

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


def test_of_two_sweeps_at_once_one_trains_the_job_that_both_have(
    project: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    began, go_on = threading.Event(), threading.Event()

    def slowly(task: JobTask) -> JobOutcome:
        began.set()
        assert go_on.wait(30)
        return by_rate(task)

    first, _ = make("one", "train.lr=0.1,0.3")
    first.plan()
    ran: list[float] = []
    monkeypatch.setattr(executors, "places", lambda *_: [FakePlace(slowly, ran)])
    waits = SimpleNamespace(sleep=lambda _: go_on.set() or time.sleep(0.01))
    monkeypatch.setattr("sightline.sweep.job_models.time", waits)
    with concurrent.futures.ThreadPoolExecutor(1) as pool, caplog.at_level(logging.INFO, "sightline"):
        running = pool.submit(first.run)
        assert began.wait(30), running.exception(0)
        engine, more = start(monkeypatch, "train.lr=0.1,0.2", name="two")
        running.result(timeout=30)
    assert (ran, more) == ([0.1, 0.3], [0.2])
    assert [job.result["val_loss"] for job in engine.finished_jobs()] == [0.1, 0.2]
    assert [line for line in caplog.messages if line.endswith("which another sweep runs now")]
    assert "[1/2] lr=0.1  val_loss 0.1  known" in caplog.messages


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


def test_a_job_ends_where_it_is_worse_than_half_of_all_jobs_the_ended_ones_included(project: Path) -> None:
    import optuna

    engine, study = make("one", f"train.lr={','.join(f'0.{i}' for i in range(1, 10))}", "sweep.pruner=median")
    engine.plan()
    epochs = []  # that each job was given, of 4; no job is judged by the first
    for losses in (0.9, 0.6), (0.9, 0.5), (0.9, 0.4), (0.9, 0.3), (0.9, 0.9), (0.9, 0.8), (0.9, 0.48), (0.1, 0.9):
        asked = study.ask()
        found = optuna.load_study(
            study_name="one", storage=open_storage(study_location()), pruner=pruner_named("median", 4)
        )  # as a job's process does
        trial = optuna.Trial(found, found.trials[asked.number]._trial_id)
        for epoch, loss in enumerate((*losses, losses[1], losses[1])):
            trial.report(loss, epoch)
            if pruned := trial.should_prune():
                break
        epochs.append(epoch + 1)
        study.tell(asked, TrialState.PRUNED if pruned else TrialState.COMPLETE, {"val_loss": min(losses)})
    # The first four have nothing to be judged by; 0.48 is worse than half that ran to the end, not than half of all.
    assert epochs == [4, 4, 4, 4, 2, 2, 4, 4]
    assert len(study.finished()) == 8


SHARED = """
import os, sys, time
from pathlib import Path
import pytest
from tests.sweep import fakes
def meet(name):
    Path(sys.argv[1], f"{name}-{os.getpid()}").touch()
    while len(list(Path(sys.argv[1]).glob(f"{name}-*"))) < 2:
        time.sleep(0.002)
make_job, plan, met = fakes.FakeFactory.job, fakes.SweepEngine.plan, []
def plan_together(engine):  # before either has enqueued a job
    meet("plan")
    done = plan(engine)
    meet("planned")
    return done
def job_together(factory, words):  # after both have taken up their first one
    if not met:
        met.append(meet("job"))
    return make_job(factory, words)
def slowly(task):
    time.sleep(0.1)
    return fakes.by_rate(task)
with pytest.MonkeyPatch.context() as patch:
    patch.setattr(fakes.SweepEngine, "plan", plan_together)
    patch.setattr(fakes.FakeFactory, "job", job_together)
    engine, ran = fakes.start(patch, *sys.argv[3:], name=sys.argv[2], answer=slowly)
print(len(engine.finished_jobs()), *ran)
"""


@pytest.fixture
def shared(project: Path, tmp_path: Path) -> Callable[..., list[list[float]]]:
    """Runs a sweep in two clones at the same moment; returns the jobs that each has ranked, and what it ran."""

    def run(url: str, name: str, *words: str) -> list[list[float]]:
        other, met = tmp_path / "other", tmp_path / "met"
        met.mkdir()
        other.mkdir()
        shutil.copytree(project / "conf", other / "conf")
        shutil.copy(project / "params.yaml", other)
        command = [sys.executable, "-c", SHARED, str(met), name, *words]
        environment = {**os.environ, VARIABLE: url, "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"}
        processes = [
            subprocess.Popen(command, cwd=place, env=environment, stdout=subprocess.PIPE, text=True)
            for place in (project, other)
        ]
        outputs = [process.communicate(timeout=300)[0].splitlines() for process in processes]
        assert [process.returncode for process in processes] == [0, 0]
        return [[float(word) for word in lines[-1].split()] for lines in outputs]

    return run


@pytest.mark.slow
@pytest.mark.parametrize("server", ["postgresql_url", pytest.param("mariadb_url", marks=pytest.mark.full)])
def test_two_machines_that_plan_a_sweep_at_once_share_it(
    shared: Callable[..., list[list[float]]], server: str, request: pytest.FixtureRequest
) -> None:
    """Each enqueues all jobs, and takes up the same one first: each job runs once, and both rank all."""
    ends = shared(request.getfixturevalue(server), "grid", "train.lr=0.1,0.2,0.3,0.4,0.5,0.6")
    assert [end[0] for end in ends] == [6, 6]
    assert sorted(rate for end in ends for rate in end[1:]) == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    assert all(len(end) > 1 for end in ends)


@pytest.mark.slow
def test_the_number_of_trials_is_that_of_all_machines(
    shared: Callable[..., list[list[float]]], postgresql_url: str
) -> None:
    ends = shared(postgresql_url, "tpe", "train.lr=interval(0.1,0.9)", "sweep.n_trials=5")
    assert [end[0] for end in ends] == [5, 5]
    assert sum(len(end) - 1 for end in ends) == 5


def test_of_two_trials_of_one_job_the_first_gets_it_whichever_asks_first(project: Path) -> None:
    engine, study = make("one", "train.lr=0.1,0.2")
    engine.plan()
    first, second = study.ask(), study.ask()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        later = pool.submit(study.claim, second, "same")
        time.sleep(0.2)
        assert not later.done()  # the first has not said yet which job it has
        assert study.claim(first, "same") is None
        found = later.result(timeout=30)
    assert found is not None
    assert found.number == first.number


def test_fifty_jobs_six_at_a_time_are_each_run_once_and_ranked(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, ran = start(monkeypatch, "train.lr=range(0.01,0.51,0.01)", "sweep.jobs=6")
    assert len(ran) == len(set(ran)) == len(engine.finished_jobs()) == 50
    assert not engine.failed


def test_tpe_begins_with_the_projects_own_settings(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(2):  # and does not run them twice
        engine, _ = make("one", "train.lr=interval(0.1,0.9)", "sweep.n_trials=3", first={"train.lr": 0.25})
        engine.plan()
    assert [trial.system_attrs["fixed_params"] for trial in engine._study.trials()] == [{"train.lr": 0.25}]


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
