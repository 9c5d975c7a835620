"""DVC in a slot, in a process with preloaded imports, as are the data stages that it runs."""

from __future__ import annotations

import multiprocessing
import os
import re
import runpy
import shutil
import sys
from collections.abc import Callable, Collection
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from sightline.core.files import die_with_parent
from sightline.sweep import fork_server

MODULES = (
    "dvc.cli",
    "dvc.commands.repro",
    "dvc.commands.commit",
    "dvc.repo.reproduce",
    "dvc.stage.run",
    "dvc.stage.cache",
)
"""Modules that every DVC command imports."""
OF_STAGES = {
    "watch": ("sightline.config.stage_runner", "sightline.stages.watch.look"),
    "ingest": ("sightline.stages.ingest.stage", "sightline.stages.ingest.console", "sightline.stages.ingest.demands"),
    "preprocess": (
        "sightline.stages.preprocess.stage",
        "sightline.stages.preprocess.console",
        "sightline.stages.preprocess.division",
    ),
}
"""Modules of the stages that run in a fork; DVC starts all other stages as separate processes, as usual."""
_COMMAND = re.compile(r"exec python -m (?:pipeline\.|sightline\.stages )(\w+)")


def serve_dvc(connection: Connection) -> None:
    """Runs one DVC command and sends its exit code.

    Args:
        connection: Connection that receives the words of the command and sends the exit code.
    """
    words = connection.recv()
    import dvc.stage.run
    from dvc.cli import main

    begin = dvc.stage.run._run
    dvc.stage.run._run = _runner(begin, set(OF_STAGES) if _is_own_python() else ())
    code = main(words)
    sys.stdout.flush()
    connection.send(code)


def _is_own_python() -> bool:
    """Returns whether the `python` of a stage's command belongs to the current environment."""
    found = shutil.which("python")
    return found is not None and Path(found).parent.resolve() == Path(sys.executable).parent.resolve()


def _runner(begin: Callable[..., None], stages: Collection[str]) -> Callable[..., None]:
    """Returns a replacement for DVC's function that runs a stage's command.

    Args:
        begin: DVC's function, which is called for other stages.
        stages: Stages to run in a fork.
    """

    def run(executable: str, command: str, **settings: Any) -> None:
        match = _COMMAND.fullmatch(command.strip())
        if match is None or match[1] not in stages:
            begin(executable, command, **settings)
            return
        from dvc.stage.exceptions import StageCmdFailedError

        sys.stdout.flush()
        words = command.split()[3:]
        process = multiprocessing.get_context("fork").Process(target=_stage, args=(words, settings))
        process.start()
        process.join()
        if process.exitcode:
            raise StageCmdFailedError(command, process.exitcode)

    return run


def _stage(words: list[str], settings: dict[str, Any]) -> None:
    """Runs a stage's script as `python -m` does."""
    die_with_parent()
    os.environ.clear()
    os.environ.update(settings["env"])
    os.chdir(settings["cwd"])
    fork_server.forget_project()
    sys.argv[:] = words
    runpy.run_module(words[0], run_name="__main__", alter_sys=True)
