"""The runner of a stage's script: composes and checks the configuration, takes the stage's lock, runs the stage."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeVar

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig

from sightline.config import other_sections
from sightline.config.compose import (
    CONFIG_NAME,
    compose,
    parse_overrides,
    read_params,
    saved_overrides,
    selecting,
    typed,
)
from sightline.config.location import conf_folder
from sightline.config.removals import is_removal, without
from sightline.core import credentials, distributed, files, progress, stage_inputs, terminal_log
from sightline.core.errors import ConfigError, fault

WITH_VALUE = ("--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd", "--package", "-p", "--cfg", "-c")
"""Hydra's flags that take the next word as their value."""

MULTIRUN = ("-m", "--multirun")

T = TypeVar("T")


@dataclass(frozen=True)
class Context:
    """A stage's surroundings: its folders and its command line.

    Attributes:
        root: Folder that inputs are read from: the project's root.
        output: Folder that outputs are written below.
        config: The whole composed configuration, unresolved (so that secrets stay in the environment).
        overrides: The command line's settings for this run, one per key.
    """

    root: Path
    output: Path
    config: DictConfig
    overrides: tuple[str, ...]


def stage_main(
    stage: str,
    schema: type[T],
    run: Callable[[T, Context], None],
    check: Callable[[DictConfig], None] | None = None,
    section: str | None = None,
) -> None:
    """Runs a stage's script: composes its configuration, checks it, takes the stage's lock, and calls `run`.

    With `-m` the command line describes a sweep, which `pipeline.sweep` runs instead.

    Args:
        stage: The stage's name, for its lock and its messages.
        schema: The section's dataclass.
        run: Does the work.
        check: Further checks of the whole configuration, run before any work starts.
        section: The section of the configuration that the stage reads, if it is not named like the stage.

    A bad configuration or input ends the process with exit code 2 and one line on standard error.
    """
    section = section or stage
    terminal_log.configure()
    words = sys.argv[1:]
    if any(word in MULTIRUN for word in words):
        # Another program rather than an import: the code of sweeps must not count into the stage's code digest.
        os.execv(sys.executable, [sys.executable, "-m", "sightline.stages", "sweep", *words])  # noqa: S606 - no shell
    try:
        params = read_params()
        takers = ["", *words]  # the word before each word, which may take it as its value
        places = [i for i, w in enumerate(words) if w[:1] != "-" and takers[i] not in WITH_VALUE]
        first = places[0] if places else len(words)
        other_sections.refuse([words[i] for i in places], (section,), params)
        removals = [i for i in places if is_removal(words[i])]
        saved = saved_overrides(without(params, [words[i] for i in removals], conf_folder()))
        user = [selecting(word) for i, word in enumerate(words) if i not in removals]
        command = [selecting(words[i]) for i in places if i not in removals]
        if any(word in ("-h", "--help") for word in words):
            from sightline.config.stage_help import help_text

            about = (sys.modules["__main__"].__doc__ or "").strip().partition("\n")[0]
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # quitting a pager early is not an error
            print(help_text(stage, section, about, compose([*saved, *command])))
            return
        composed = _preflight(section, schema, saved, command, check)
        parsed = parse_overrides(command)
        if any(override.key_or_group == "hydra.mode" for override in parsed):
            raise ConfigError("hydra.mode: a sweep needs the flag -m")
        given = {o.key_or_group: str(o.input_line) for o in parsed}
        sys.argv[1:] = [*user[:first], *saved, *user[first:]]
    except Exception as error:
        end(stage, error)

    def execute(config: DictConfig) -> None:
        try:
            settings = typed(schema, config[section], section)
            context = Context(Path(), Path(), config, tuple(given.values()))
            if distributed.rank() > 0:  # rank 0 holds the lock for the whole group
                run(settings, context)
                return
            with files.lock(stage), progress.stage(stage):
                stage_inputs.require_intact()
                run(settings, context)
        except Exception as error:  # caught here, because Hydra would print a stack trace
            end(stage, error)

    if command == user and not any(o.is_hydra_override() for o in parsed):
        # A plain run: already composed above, and composing it again would take a third of the time of `watch`.
        execute(composed)
        return
    os.environ["HYDRA_FULL_ERROR"] = "1"  # makes Hydra raise its errors instead of printing them over several lines
    try:
        hydra.main(version_base="1.3", config_path=str(conf_folder().resolve()), config_name=CONFIG_NAME)(execute)()
    except HydraException as error:
        end(stage, ConfigError(" ".join(str(error).split())))
    except Exception as error:
        end(stage, error)


def _preflight(
    stage: str, schema: type, saved: list[str], command: list[str], check: Callable[[DictConfig], None] | None
) -> DictConfig:
    """Returns the configuration that a command line asks for, checked before any work starts."""
    parsed = parse_overrides(command)
    several = next((o for o in parsed if o.is_sweep_override() and not o.is_hydra_override()), None)
    if several is not None:
        raise ConfigError(f"{several.key_or_group}: several values are a sweep, which needs the flag -m")
    config = compose([*saved, *(str(o.input_line) for o in parsed if not o.key_or_group.startswith("hydra"))])
    typed(schema, config[stage], stage)
    if check:
        check(config)
    return config


def end(stage: str, error: Exception) -> NoReturn:
    """Ends the process with exit code 2 and one line that says why; re-raises an error that is a bug in the program."""
    mendable = fault(error)
    if mendable is None:
        raise error
    say(f"{stage}: {mendable}")
    raise SystemExit(2)


def say(line: str) -> None:
    """Prints a line on standard error, with credentials masked."""
    progress.write_line(credentials.mask(line), sys.stderr)
