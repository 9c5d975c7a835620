"""The engine of a sweep: asks the study for jobs, runs them on executors, and reports their results to the study."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import logging
import math
import re
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from sightline.core import files, progress
from sightline.core.errors import UserError
from sightline.sweep import executors, job_models
from sightline.sweep.config import SweepConfig
from sightline.sweep.executors import Place
from sightline.sweep.job import JobFactory, JobOutcome, JobTask, SweepJob
from sightline.sweep.job_models import JOBS
from sightline.sweep.job_ranking import FinishedJob
from sightline.sweep.later_stages import LaterStages
from sightline.sweep.search_space import SearchSpace, drawn_value
from sightline.sweep.slots import Slots
from sightline.sweep.study import SweepStudy, known_results
from sightline.tracking.uris import sqlite_from_anywhere

log = logging.getLogger(__name__)

_STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED}


@dataclass
class _ActiveJob:
    """A job that is running on an executor."""

    trial: optuna.Trial
    job: SweepJob
    place: Place
    begun: float


class SweepEngine:
    """Runs the remaining jobs of a sweep.

    Args:
        study: The sweep's study.
        storage: The file or database that contains it.
        space: The knobs.
        settings: The section `sweep`.
        grid: Whether all combinations are tried in order.
        factory: Creates jobs.
        slots: Folders for the data.
        tags: Function that returns the tags of a job's run in MLflow from the job's digest.
        later: The stages of jobs after the training; None for none.
        first: The values of the first job, which are the project's current ones; None for none.
    """

    def __init__(
        self,
        study: SweepStudy,
        storage: str,
        space: SearchSpace,
        settings: SweepConfig,
        grid: bool,
        factory: JobFactory,
        slots: Slots,
        tags: Any,
        later: LaterStages | None = None,
        first: Mapping[str, Any] | None = None,
    ) -> None:
        self._study, self._space, self._settings = study, space, settings
        self._journal = "" if "://" in storage else storage
        self._grid, self._factory, self._slots, self._tags = grid, factory, slots, tags
        known = known_results(study.study._storage)
        self._known = {digest: (sweep, result) for digest, sweep, result in known}
        self._running: dict[concurrent.futures.Future[JobOutcome], _ActiveJob] = {}
        self._failed_before: set[int] = set()
        self._step = ""
        self._later, self._first = later, first
        self.failed: list[str] = []
        self.stopped = 0

    @property
    def total(self) -> int | None:
        """The number of jobs to run; None if only the time is limited."""
        size = self._space.size if self._space.is_grid else None
        if self._settings.n_trials is None:
            return None if size is None or (not self._grid and self._settings.time) else size
        return min(self._settings.n_trials, size) if size is not None and self._grid else self._settings.n_trials

    def plan(self) -> int:
        """Enqueues the remaining jobs of a grid, and jobs that failed or were interrupted before.

        Returns:
            The number of jobs that have already run.
        """
        again = self._study.bury()
        self._failed_before = {trial.number for trial in self._study.trials(TrialState.FAIL)}
        done = self._study.finished()
        taken = [_values(trial) for trial in (*done, *self._study.trials(TrialState.RUNNING, TrialState.WAITING))]
        if self._grid:
            missing = [values for values in self._space.grid() if values not in taken]
        else:
            failed = [trial.params for trial in self._study.trials(TrialState.FAIL)]
            first = [dict(self._first)] if self._first is not None and not self._study.trials() else []
            missing = [values for values in (*first, *failed, *again) if values not in taken]
        for number, values in enumerate(missing):
            if values not in missing[:number]:
                self._study.enqueue(values)
        return len(done)

    def run(self) -> None:
        """Runs jobs until there are no more, or the time limit is reached.

        Raises:
            KeyboardInterrupt: If it is interrupted, after the running jobs have stopped.
        """
        places = executors.places(self._settings.executor, self._settings.jobs)
        free, seconds = list(places), self._settings.seconds
        deadline = math.inf if seconds is None else time.monotonic() + seconds
        alone = False
        with concurrent.futures.ThreadPoolExecutor(len(places)) as pool:
            try:
                while True:
                    while free and time.monotonic() < deadline and self._begin(pool, free):
                        pass
                    self._show_running()
                    if not self._running:
                        others = time.monotonic() < deadline and self._wait_for_others()
                        if alone and not others:
                            break
                        alone = not others  # check once more for jobs that they have just left
                        continue
                    alone = False
                    self._wait(free, min(1.0, max(0.0, deadline - time.monotonic())) if deadline < math.inf else 1.0)
                    if time.monotonic() >= deadline and self._running:
                        self._stop(places, free)
            except KeyboardInterrupt:
                self._stop(places, free)
                raise
            finally:
                if self._running:  # an error, or a second Ctrl-C: the pool's threads must end
                    self._slots.stop()
                    for place in places:
                        place.stop()
                for place in places:
                    place.close()

    def _show_running(self) -> None:
        """Shows the running jobs on the last line of the terminal."""
        labels = ", ".join(self.label(running.trial.params) for running in self._running.values())
        step = f"running {labels}" if labels else ""
        if step != self._step:
            progress.step(step)
        self._step = step

    def _stop(self, places: Sequence[Place], free: list[Place]) -> None:
        """Stops the running jobs such that the same command can resume them, and waits for that."""
        self._slots.stop()
        for place in places:
            place.stop()
        patience = time.monotonic() + executors.PATIENCE
        while self._running and time.monotonic() < patience:
            self._wait(free, 1.0)

    def _wait(self, free: list[Place], seconds: float) -> None:
        done, _ = concurrent.futures.wait(
            self._running, timeout=seconds, return_when=concurrent.futures.FIRST_COMPLETED
        )
        for future in done:
            running = self._running.pop(future)
            free.append(running.place)
            self._end(running, future.result())
        self._study.beat([running.trial for running in self._running.values()])

    def _wait_for_others(self) -> bool:
        """Waits a moment if other machines are running jobs of this sweep, since they belong to its ranking.

        Returns:
            Whether there are any.
        """
        working = self._study.elsewhere()
        if not working:
            return False
        progress.step(f"waiting for {working} job{'s' if working > 1 else ''} of other machines")
        time.sleep(0.5)
        return True

    def _begin(self, pool: concurrent.futures.ThreadPoolExecutor, free: list[Place]) -> bool:
        """Starts the next job, or ends it if its result is known; returns whether to continue with another."""
        total = self.total
        if total is not None and self._taken() >= total:
            return False
        if self._grid and not self._study.waiting():
            return False
        trial = self._study.ask()
        if (
            total is not None and not self._grid and self._taken(trial.number) >= total
        ):  # another machine has just taken the last
            self._study.tell(trial, TrialState.FAIL, {}, surplus=True)
            return True
        words = self._space.words(trial.params)
        try:
            job = self._factory.job(words)
        except UserError as error:
            self._record(trial, JobOutcome.failed(error), 0.0)
            return True
        trial.set_user_attr("training", job.training)
        trial.set_user_attr("words", list(job.words))
        twin = self._study.claim(trial, job.digest)
        running = twin is not None and twin.state == TrialState.RUNNING
        if twin is not None and (running or (self._grid and twin.params == trial.params)):  # on two machines
            self._study.tell(trial, TrialState.FAIL, {}, duplicate=twin.number)
            return self._grid  # a sampler may draw the same values repeatedly until that job ends
        if twin is not None and twin.state == TrialState.COMPLETE:  # of another machine, or spelt differently
            self._known[job.digest] = self._study.name, twin.user_attrs["result"]
        if job.digest in self._known:
            sweep, result = self._known[job.digest]
            if all(metric in result for metric in self._study.metrics):
                origin = f"known from sweep {sweep}" if sweep != self._study.name else "known"
                self._record(trial, JobOutcome("complete", result), 0.0, origin)
                return True
        if twin is not None and twin.state == TrialState.PRUNED:
            self._record(trial, JobOutcome("pruned"), 0.0)
            return True
        place = free.pop()
        future = pool.submit(self._work, place, self._task(trial, job))
        self._running[future] = _ActiveJob(trial, job, place, time.monotonic())
        return True

    def _taken(self, until: float = math.inf) -> int:
        """Returns the number of jobs that have ended or are running, on all machines, with trial numbers below one."""
        running = sum(trial.number < until for trial in self._study.trials(TrialState.RUNNING))
        return self._study.ended(self._failed_before, until) + running

    def _work(self, place: Place, task: JobTask) -> JobOutcome:
        """Prepares a job's images and runs the job, in a thread of the pool."""
        try:
            self._slots.prepare(task.job)
            if self._later is not None:
                return self._later.run(task, place.run)
            return self._trained(task, place)
        except Exception as error:
            return JobOutcome("stopped") if self._slots.stopping else JobOutcome.failed(error)

    def _trained(self, task: JobTask, place: Place) -> JobOutcome:
        """Trains, unless another sweep of the project has meanwhile done, or is doing, the same training."""
        result = task.output / job_models.RESULT
        with job_models.job_lock(task.output, lambda: self._slots.stopping):
            if result.is_file():
                found: dict[str, float] = json.loads(result.read_bytes())
                if found.keys() >= set(self._study.metrics):
                    return JobOutcome("complete", found, known=True)
            outcome = place.run(task)
            if outcome.state == "complete":
                files.write_json(result, outcome.result)
            return outcome

    def _task(self, trial: optuna.Trial, job: SweepJob) -> JobTask:
        folder = (JOBS / job.digest).absolute()
        pruner, metrics = self._settings.pruner, self._study.metrics
        return JobTask(
            job=job,
            slot=self._slots.folder(job),
            output=folder,
            answers=folder / "answers.parquet",
            log=folder / "log.txt",
            tags=self._tags(job.digest),
            measure_latency="latency_ms" in metrics,
            runs=sqlite_from_anywhere(),
            trial=None if pruner == "none" else (self._journal, self._study.name, trial.number, pruner, metrics[0]),
        )

    def _end(self, running: _ActiveJob, outcome: JobOutcome) -> None:
        if outcome.state == "stopped":
            self.stopped += 1
            self._study.tell(running.trial, TrialState.FAIL, {}, stopped=True)
            return
        if outcome.state == "complete":
            self._known[running.job.digest] = self._study.name, outcome.result
        origin = "known" if outcome.known else ""
        self._record(running.trial, outcome, time.monotonic() - running.begun, origin)

    def _record(self, trial: optuna.Trial, outcome: JobOutcome, seconds: float, origin: str = "") -> None:
        """Reports a job's outcome to the study, and prints its line."""
        self._study.tell(trial, _STATES.get(outcome.state, TrialState.FAIL), outcome.result, reason=outcome.reason)
        ended = self._study.ended(self._failed_before)
        label = self.label(trial.params)
        if outcome.state == "complete":
            shown = "  ".join(f"{metric} {outcome.result[metric]:.4g}" for metric in self._study.metrics)
        elif outcome.state == "pruned":
            shown = "pruned"
        else:
            shown = f"failed: {outcome.reason}"
            self.failed.append(f"{label}: {outcome.reason}")
        total = self.total
        of = f"/{total}" if total is not None else ""
        width = len(str(total)) if total is not None else 1
        log.info(f"[{ended:>{width}}{of}] {label}  {shown}  {origin or f'{seconds:.1f} s'}")

    def label(self, values: Mapping[str, Any]) -> str:
        """Returns the values of the knobs for display, without a knob's section if that is unambiguous."""
        return " ".join(f"{short}={drawn_value(values[key])}" for key, short in self.short_names().items())

    def short_names(self) -> dict[str, str]:
        """Returns each knob's name without its section and choice if that is unambiguous; {key: name}."""
        names = {knob.key: knob.name for knob in self._space.knobs}
        last = {key: re.sub(r"^\w+\.(\w+_options\.)?", "", name) for key, name in names.items()}
        return {key: last[key] if list(last.values()).count(last[key]) == 1 else names[key] for key in names}

    def finished_jobs(self) -> list[FinishedJob]:
        """Returns the jobs that completed or were pruned, without repeated digests."""
        names = self.short_names()
        found: dict[str, FinishedJob] = {}
        for trial in self._study.finished():
            digest = str(trial.user_attrs.get("digest"))
            pruned = trial.state == TrialState.PRUNED
            if digest not in found or found[digest].pruned:
                values = {name: drawn_value(trial.params[key]) for key, name in names.items()}
                result = dict(trial.user_attrs.get("result", {}))
                found[digest] = FinishedJob(digest, self.label(trial.params), values, result, pruned=pruned)
        return list(found.values())


def keep_best(best: str | None, others: Sequence[str]) -> None:
    """Removes the models of all jobs of a sweep except the best."""
    for digest in others:
        if digest != best:
            with contextlib.suppress(OSError):
                shutil.rmtree(JOBS / digest / "models")


def _values(trial: FrozenTrial) -> dict[str, Any]:
    """Returns the values of a trial, including one that is only enqueued."""
    fixed: dict[str, Any] = trial.system_attrs.get("fixed_params", {})
    return dict(trial.params) or dict(fixed)
