"""A stage's script: a configuration composed and checked, the stage's lock, one run or a sweep of them."""

from __future__ import annotations

import math
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeVar

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig

from sightline.config import other_sections
from sightline.config.compose import CONFIG_NAME, compose, parse, read_params, saved_overrides, selecting, typed
from sightline.config.location import conf_folder
from sightline.config.removals import is_removal, without
from sightline.core import credentials, distributed, files, progress, terminal_log
from sightline.core.errors import ConfigError, fault

WITH_VALUE = ("--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd", "--package", "-p", "--cfg", "-c")
"""Hydra's flags that take the next word as their value."""

T = TypeVar("T")


@dataclass(frozen=True)
class Context:
    """Where a stage stands.

    Attributes:
        root: Folder that its inputs are read from: the project's root.
        output: Folder that its outputs are written below: the root as well, or a sweep's job folder.
        config: The whole composed configuration, unresolved (so that secrets in the environment stay there).
        sweep_job: The job's number in a sweep, else None.
        overrides: What the command line sets for this run, key by key; in a sweep, this job's values.
    """

    root: Path
    output: Path
    config: DictConfig
    sweep_job: int | None
    overrides: tuple[str, ...]


def stage_main(
    stage: str,
    schema: type[T],
    run: Callable[[T, Context], float | None],
    check: Callable[[DictConfig], None] | None = None,
    sweep_callback: str | None = None,
    section: str | None = None,
) -> None:
    """Runs a stage's script: composes its configuration, checks it, takes the stage's lock, and calls `run`.

    Args:
        stage: The stage's name, in its lock and its messages.
        schema: The section's dataclass.
        run: Does the work; the number it returns is what a sweep optimises.
        check: More to check about the whole configuration, before any work starts.
        sweep_callback: Import path of a Hydra callback, for sweeps of this stage.
        section: The section of the configuration that it reads, where that has another name than the stage.

    A bad configuration or input ends the process with exit code 2 and one line on standard error.
    """
    section = section or stage
    terminal_log.configure()
    try:
        words = sys.argv[1:]
        params = read_params()
        takers = ["", *words]  # whether the word before takes this one as its value
        places = [i for i, w in enumerate(words) if w[:1] != "-" and takers[i] not in WITH_VALUE]
        first = places[0] if places else len(words)
        other_sections.refuse([words[i] for i in places], section, params)
        removals = [i for i in places if is_removal(words[i])]
        saved = saved_overrides(without(params, [words[i] for i in removals], conf_folder()))
        user = [selecting(word) for i, word in enumerate(words) if i not in removals]
        command = [selecting(words[i]) for i in places if i not in removals]
        if any(word in ("-h", "--help") for word in words):
            from sightline.config.stage_help import help_text

            about = (sys.modules["__main__"].__doc__ or "").strip().partition("\n")[0]
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # a pager that is left is no fault
            print(help_text(stage, section, about, compose([*saved, *command])))
            return
        multirun = any(word in ("-m", "--multirun") for word in user)
        composed = _preflight(section, schema, saved, command, multirun, check)
        parsed = parse(command)
        given = {o.key_or_group: str(o.input_line) for o in parsed}
        extra = []
        if sweep_callback and multirun:
            extra = [f"+hydra.callbacks.sweep._target_={sweep_callback}"]
        sys.argv[1:] = [*user[:first], *saved, *extra, *user[first:]]
    except Exception as error:
        end(stage, error)

    failed_jobs: list[int] = []

    def execute(context: Context) -> float | None:
        try:
            settings = typed(schema, context.config[section], section)
            if context.sweep_job is not None or distributed.rank() > 0:  # the first of a group holds the lock for all
                return run(settings, context)
            with files.lock(stage), progress.stage(stage):
                return run(settings, context)
        except Exception as error:  # here, since Hydra would print a stack trace
            if context.sweep_job is None:
                end(stage, error)
            mendable = fault(error)
            if mendable is None:
                raise
            # One job that diverges, or asks for too much, does not end the others.
            say(f"job {context.sweep_job}: {mendable}")
            failed_jobs.append(context.sweep_job)
            return math.nan

    def task(config: DictConfig) -> float | None:
        choices = HydraConfig.get()
        sweep = choices.mode == RunMode.MULTIRUN
        last = {o.key_or_group: str(o.input_line) for o in parse(list(choices.overrides.task))}
        return execute(
            Context(
                root=Path(),
                output=Path(choices.runtime.output_dir) if sweep else Path(),
                config=config,
                sweep_job=int(choices.job.num) if sweep else None,
                # A sweep puts a job's value in the place where params.yaml had its own.
                overrides=tuple(last[key] for key in given if key in last),
            )
        )

    if command == user and not any(o.is_hydra_override() for o in parsed):
        # A plain run: composed above, and to compose it again would be a third of what `watch` takes.
        execute(Context(Path(), Path(), composed, None, tuple(given.values())))
        return
    if multirun:
        os.environ["HYDRA_FULL_ERROR"] = "1"  # an error outside of the jobs comes here, and is not printed there
    try:
        hydra.main(version_base="1.3", config_path=str(conf_folder().resolve()), config_name=CONFIG_NAME)(task)()
    except HydraException as error:
        end(stage, ConfigError(" ".join(str(error).split())))
    except Exception as error:
        end(stage, error)
    if failed_jobs:
        raise SystemExit(1)


def _preflight(
    stage: str,
    schema: type,
    saved: list[str],
    command: list[str],
    multirun: bool,
    check: Callable[[DictConfig], None] | None,
) -> DictConfig:
    """Checks every configuration that a command line asks for, a sweep's each value by itself, before any work.

    Returns:
        The last one; without a sweep the only one.
    """
    parsed = parse(command)
    fixed = [str(o.input_line) for o in parsed if not o.is_sweep_override() and not o.key_or_group.startswith("hydra")]
    swept = [o for o in parsed if o.is_sweep_override() and not o.is_hydra_override()]
    if swept and not multirun:
        raise ConfigError(f"{swept[0].key_or_group}: several values are a sweep, which needs the flag -m")
    discrete = [o for o in swept if o.is_discrete_sweep()]
    variants = [[*fixed, f"{o.get_key_element()}={value}"] for o in discrete for value in o.sweep_string_iterator()]
    for variant in variants or [fixed]:
        config = compose([*saved, *variant])
        typed(schema, config[stage], stage)
        if check:
            check(config)
    return config


def end(stage: str, error: Exception) -> NoReturn:
    """Ends the process with exit code 2 and one line that says why; an error of the program it raises again."""
    mendable = fault(error)
    if mendable is None:
        raise error
    say(f"{stage}: {mendable}")
    raise SystemExit(2)


def say(line: str) -> None:
    """Prints a line on standard error, without the credentials that it may hold."""
    progress.write_line(credentials.mask(line), sys.stderr)
