"""The command `python -m pipeline.sweep`: parses the command line, runs the jobs and prints a ranking."""

from __future__ import annotations

import contextlib
import logging
import shlex
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sightline.config import stage_help
from sightline.config.compose import ConfigError, compose, parse_overrides, read_params, saved_overrides, typed
from sightline.config.location import conf_folder
from sightline.config.messages import options_in
from sightline.config.stage_runner import end
from sightline.core import cpu_threads, files, progress, terminal_log
from sightline.sweep import executors, fork_server, slots
from sightline.sweep.config import SweepConfig
from sightline.sweep.extent import extent
from sightline.sweep.job import JobFactory
from sightline.sweep.options import LocalExecutor
from sightline.sweep.search_space import SearchSpace, read_words

if TYPE_CHECKING:
    from sightline.sweep.session import SweepOutcome

log = logging.getLogger(__name__)

USAGE = """\
Tries values of any setting of any stage; the same command resumes it where it was stopped.

Usage: python -m pipeline.sweep -m KEY=VALUES... [KEY=VALUE ...] [sweep.SETTING=VALUE ...]
In a project of your own: python -m sightline.stages sweep -m ...

  train.lr=0.001,0.01                          these values
  train.seed=range(0,5)                        0, 1, 2, 3, 4
  train.model=glob(*)                          all options
  'train.lr=tag(log,interval(1e-4,1e-1))'      any number between, in logs
  'train.batch_size=int(interval(16,128))'     any whole number between

Settings, of conf/sweep/:"""


def main() -> None:
    """Runs the script; exits with 0, 1 if a job failed, 2 for user errors, or 130 if interrupted."""
    terminal_log.configure()
    if set(sys.argv[1:]) & {"-h", "--help"}:
        print(sweep_help())
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = 1 if sweep(sys.argv[1:]).failed else 0
    except KeyboardInterrupt:
        code = 130
    except Exception as error:
        end("sweep", error)
    raise SystemExit(code)


def sweep_help() -> str:
    """Returns the command's usage, with the settings of conf/ and their comments."""
    conf = conf_folder() / "sweep"
    found = [(f"sweep.{knob.name}", knob.comment) for knob in stage_help.knobs(conf / "default.yaml")]
    found.append(("sweep.executor", ", ".join(options_in(conf / "executor"))))
    width = max(len(name) for name, _ in found)
    return "\n".join([USAGE, *(f"  {name:<{width}}  {comment}" for name, comment in found)])


def sweep(words: Sequence[str], advice: bool = True) -> SweepOutcome:
    """Runs a sweep, or resumes it.

    Args:
        words: The command line.
        advice: Whether to print the commands for the next steps.

    Raises:
        UserError: If the command line or the configuration is invalid, before any job runs.
        KeyboardInterrupt: If it is interrupted.
    """
    params = read_params()
    space = read_words(words)
    config = compose([*saved_overrides(params), *space.settings])
    settings = typed(SweepConfig, config["sweep"], "sweep")
    grid = _is_grid(space, settings)
    reach, metrics = extent(space.sections, settings.named)
    factory = JobFactory(reach)
    space = _with_threads(space, settings, factory)
    for sample in space.samples():
        factory.job(sample)
    base = factory.job(space.fixed)
    metrics = metrics or [str(base.config.train.monitor)]
    if settings.pruner != "none" and not set(metrics) <= {"val_loss", "val_accuracy"}:
        raise ConfigError(f"sweep.pruner: {settings.pruner} needs a metric that is known after every epoch")
    # After the checks: Optuna takes half a second to import, MLflow two.
    from sightline.sweep.session import Session
    from sightline.sweep.study import SweepStudy
    from sightline.sweep.study_storage import open_storage, study_location

    sampler = "grid" if grid else "random" if settings.sampler == "random" else "tpe"
    knobs: Any = [[knob.key, knob.values, knob.interval] for knob in space.knobs]
    identity = [knobs, sampler, settings.pruner, metrics, base.digest]
    name = files.sha256(files.canonical_json(identity).encode())[:8]
    place = study_location()
    first = space.present(base.config) if sampler == "tpe" else None
    fork_server.shared_server()  # forks, so before any connection, lock or thread exists
    storage = open_storage(place)
    with contextlib.ExitStack() as held:
        with files.waiting_lock(slots.LOCK):
            slots.remove_abandoned()
            held.enter_context(files.lock(f"sweep-{name}"))
        drawn = space.distributions(not grid)
        study = SweepStudy(storage, name, metrics, drawn, sampler, settings.seed, settings.n_trials)
        with progress.stage("sweep"):
            line = shlex.join(words)
            return Session(name, study, place, space, settings, grid, first, factory, line, advice).run()


def _is_grid(space: SearchSpace, settings: SweepConfig) -> bool:
    """Returns whether all combinations are tried in order; rejects sweeps without an end."""
    if settings.sampler == "grid" and not space.is_grid:
        knob = next(knob for knob in space.knobs if knob.interval)
        raise ConfigError(f"{knob.name}: an interval cannot be a grid: give values, or leave out sweep.sampler=grid")
    if not space.is_grid and settings.n_trials is None and settings.time is None:
        raise ConfigError("a sweep over an interval needs a limit: sweep.n_trials=20 or sweep.time=30m")
    return settings.sampler == "grid" or (settings.sampler == "auto" and space.is_grid)


def _with_threads(space: SearchSpace, settings: SweepConfig, factory: JobFactory) -> SearchSpace:
    """Gives parallel jobs equal shares of the cores, as a setting of the jobs since results depend on it."""
    keys = [override.key_or_group for word in space.fixed for override in parse_overrides([word])]
    if settings.jobs == 1 or not isinstance(settings.executor, LocalExecutor) or executors.gpus():
        return space
    if (
        not factory.extent.trains
        or "train.threads" in keys
        or any(knob.name == "train.threads" for knob in space.knobs)
    ):
        return space
    threads, cores = int(factory.job(()).config.train.threads), cpu_threads.available()
    share = max(1, cores // settings.jobs)
    if threads <= share:
        return space
    log.info(f"sweep: {settings.jobs} jobs at a time on {cores} cores: each with train.threads={share}, which is a")
    log.info("       setting of the job like the others: the last bits of its result depend on it")
    return SearchSpace(space.knobs, (*space.fixed, f"++train.threads={share}"), space.settings)
