"""One session of a sweep: runs the engine within an MLflow run, prints the ranking and writes the results."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.exceptions import StorageInternalError

from sightline.config.location import conf_folder, stage_command
from sightline.core import credentials, files
from sightline.core.errors import UserError
from sightline.sweep import job_models, job_ranking, sweep_page
from sightline.sweep.config import DIRECTIONS, SweepConfig
from sightline.sweep.engine import SweepEngine, keep_best
from sightline.sweep.job import JobFactory
from sightline.sweep.job_models import JOBS
from sightline.sweep.job_ranking import RankedJob
from sightline.sweep.later_stages import LaterStages, metric_of_run
from sightline.sweep.search_space import SearchSpace, section_of
from sightline.sweep.slots import Slots
from sightline.sweep.study import SweepStudy
from sightline.sweep.sweep_page import SweepSummary, judges
from sightline.tracking import sweep_runs
from sightline.tracking.tracker import Tracker

log = logging.getLogger(__name__)

REPORTS = Path("reports/sweeps")
DATA_STAGES = ("ingest", "preprocess")
"""The stages that produce images, in order; a knob of one makes it and the later ones run."""
SHOWN = 20
"""Rows of the ranking that are printed."""


def param_of_run(knob: str, later: bool) -> str:
    """Returns the name of a knob among the parameters of a job's run.

    Args:
        knob: Its key in params.yaml.
        later: Whether stages run after the training, in which case the run's parameters have the keys of params.yaml.

    >>> param_of_run("train.model_options.width", False), param_of_run("preprocess.size", False)
    ('train.model.width', 'preprocess.size')
    """
    if later:
        return knob
    section, _, key = knob.partition(".")
    choice = (conf_folder() / section / key).is_dir()
    return f"{knob}.name" if choice else knob.replace("_options.", ".", 1)


@dataclass(frozen=True)
class SweepOutcome:
    """The outcome of a sweep that was not interrupted.

    Attributes:
        ranked: The completed jobs, best first.
        words: Their changes to params.yaml by digest, such as `train.lr=0.01`.
        failed: A line for each job that failed.
    """

    ranked: Sequence[RankedJob]
    words: Mapping[str, Sequence[str]]
    failed: Sequence[str]


class Session:
    """A session of a sweep.

    Args:
        name: The sweep's name.
        study: Its study.
        storage: The file or database that contains the study.
        space: The knobs.
        settings: The section `sweep`.
        grid: Whether all combinations are tried in order.
        first: The values of the first job; None for none.
        factory: Creates jobs.
        command: The command line's words, for the message on how to resume.
        advice: Whether to print the commands for the next steps.
    """

    def __init__(
        self,
        name: str,
        study: SweepStudy,
        storage: str,
        space: SearchSpace,
        settings: SweepConfig,
        grid: bool,
        first: Mapping[str, Any] | None,
        factory: JobFactory,
        command: str,
        advice: bool = True,
    ) -> None:
        self._advice = advice
        self._name, self._study, self._space, self._command = name, study, space, command
        self._factory = factory
        sections = {section_of(knob.name) for knob in space.knobs}
        stages = DATA_STAGES[min(map(DATA_STAGES.index, sections & set(DATA_STAGES)), default=len(DATA_STAGES)) :]
        self._slots = Slots(name, ("watch", *stages))
        self._tracker: Tracker = sweep_runs.sweep_run(name, f"sweep {' '.join(knob.name for knob in space.knobs)}")
        extent = factory.extent
        later = LaterStages(extent, study.metrics, self._slots, self._tracker, self._tags) if extent.later else None
        self._engine = SweepEngine(
            study, storage, space, settings, grid, factory, self._slots, self._tags, later, first
        )

    def run(self) -> SweepOutcome:
        """Runs the remaining jobs of the sweep."""
        status, interrupted = "FAILED", False
        try:
            self._begin()
            try:
                self._engine.run()
            except KeyboardInterrupt:
                interrupted = True
            except StorageInternalError as error:
                first = credentials.mask(" ".join(str(error.__cause__ or error).split()))[:200]
                raise UserError(f"the sweep's record was lost ({first}); the same command resumes it") from None
            ranked = self._rank()
            self._print(ranked)
            self._report(ranked)
            if interrupted:
                status = "KILLED"
                if self._advice:
                    log.info(f"sweep: stopped; the same command resumes it: {stage_command('sweep')} {self._command}")
                raise KeyboardInterrupt
            self._slots.resume()  # if the time limit was reached
            self._keep(ranked)
            status = "FAILED" if self._engine.failed else "FINISHED"
        finally:
            self._slots.remove()
            self._tracker.finish(status)
        words = {str(t.user_attrs["digest"]): list(t.user_attrs["words"]) for t in self._study.finished()}
        return SweepOutcome(ranked, words, self._engine.failed)

    def _tags(self, digest: str) -> dict[str, str]:
        return sweep_runs.job_tags(self._tracker, self._name, digest)

    def _begin(self) -> None:
        values = {knob.name: (" to " if knob.interval else ", ").join(knob.values) for knob in self._space.knobs}
        self._tracker.log_params({f"sweep.{name}": text for name, text in values.items()})
        done = self._engine.plan()
        total = self._engine.total
        jobs = "jobs" if total is None else f"{total} job{'s' if total != 1 else ''}"
        if sweep_page.of_test(self._study.metrics):
            log.warning("sweep: ranked on the test split, whose numbers then overestimate the chosen job")
        log.info(f"sweep {self._name}: {jobs} over {', '.join(values)}{f'; {done} are already done' if done else ''}")

    def _rank(self) -> list[RankedJob]:
        jobs = self._engine.finished_jobs()
        ids = sweep_runs.job_runs(self._tracker, {job.digest: None for job in jobs})
        jobs = [dataclasses.replace(job, run_id=ids.get(job.digest)) for job in jobs]
        return job_ranking.rank_jobs(jobs, self._study.metrics, JOBS)

    def _report(self, ranked: list[RankedJob]) -> None:
        """Writes the page, and the same content to the description of the sweep's run."""
        names = self._engine.short_names()
        summary = SweepSummary(
            name=self._name,
            command=self._command,
            metrics=self._study.metrics,
            ranked=ranked,
            pruned=sum(job.pruned for job in self._engine.finished_jobs()),
            failed=self._engine.failed,
            importances={names[knob]: share for knob, share in self._study.importances().items()},
        )
        page = REPORTS / f"{self._name}.html"
        files.write_text(page, sweep_page.render_page(summary))
        self._tracker.log_text("sweep.html", page.read_text(encoding="utf-8"))
        experiment = sweep_runs.experiment_of(self._tracker)
        self._tracker.set_tags({"mlflow.note.content": sweep_page.markdown(summary, experiment)})
        if ranked:
            log.info(f"-> {page}")
            metrics = {metric_of_run(metric): DIRECTIONS[metric] == "minimize" for metric in self._study.metrics}
            later = self._factory.extent.later
            params = [param_of_run(knob.name, later) for knob in self._space.knobs]
            ids = [each.job.run_id for each in ranked if each.job.run_id is not None]
            sweep_runs.announce_sweep(self._tracker, self._name, params, metrics, experiment, ids)

    def _print(self, ranked: list[RankedJob]) -> None:
        metrics = self._study.metrics
        if ranked:
            rows = job_ranking.ranking_rows(ranked[:SHOWN], metrics)
            widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
            for row in rows:
                cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=False)]
                log.info("  ".join([*cells, row[-1]]).rstrip())
            if len(ranked) > SHOWN:
                log.info(f"... and {len(ranked) - SHOWN} more")
            self._print_choice(ranked)
        if self._engine.stopped:
            log.info(f"sweep: {self._engine.stopped} stopped; the same command resumes them")
        if self._engine.failed:
            log.info(f"sweep: {len(self._engine.failed)} failed; the same command retries them")

    def _print_choice(self, ranked: list[RankedJob]) -> None:
        as_good = [each for each in ranked if each.as_good]
        if len(self._study.metrics) > 1:
            log.info(f"*: no other job is better in all of {', '.join(self._study.metrics)}: {len(as_good)} of them")
            log.info(f"sightline adopt {self._name} --job 1 writes one to params.yaml, by its place; then dvc repro")
            return
        if len(as_good) > 1:
            log.info(f"=: {len(as_good) - 1} that {judges(self._study.metrics)} cannot tell from the best")
        if self._advice:
            log.info(f"sightline adopt {self._name} writes the best to params.yaml, then dvc repro")

    def _keep(self, ranked: list[RankedJob]) -> None:
        """Moves the best model to DVC's cache, as the output for its params.yaml, and removes the others."""
        best = ranked[0].job.digest if ranked and len(self._study.metrics) == 1 else None
        keep_best(best, [each.job.digest for each in ranked])
        if best is None or self._factory.extent.later:  # with later stages, every model is already there
            return
        if (JOBS / best / job_models.ENTERED).exists() or not job_models.fetch_job_model(
            JOBS / best, ranked[0].job.run_id
        ):
            return
        words = next(t.user_attrs["words"] for t in self._study.finished() if t.user_attrs.get("digest") == best)
        job = self._factory.job(words)
        if job.digest != best:  # something has changed since
            return
        try:
            self._slots.prepare(job)
            job_models.enter(self._slots, job, JOBS / best)
        except UserError as error:
            log.warning("sweep: the best model is not in DVC's cache, dvc repro will train it: %s", error)
