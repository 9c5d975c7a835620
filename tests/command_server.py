"""Process that runs commands of a project in forks of itself, with the libraries that they need already imported.

On a few images, a stage spends most of its time importing PyTorch, Lightning, MLflow and DVC. A command is a line of
JSON on standard input (words, folder, environment, output file, time limit); the response is a line with the exit code
on standard output. DVC runs the stages in forks of its own process, as in `sightline.sweep`. Each command imports the
project's own code again, from its folder.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import json
import os
import re
import runpy
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

OF_ALL = (
    *("hydra", "omegaconf", "ruamel.yaml", "yaml", "PIL.Image", "numpy", "psutil", "rich.console", "pyarrow.parquet"),
    *("pyarrow.compute", "pyarrow.dataset"),
)
OF_DVC = (
    *("dvc.cli", "dvc.commands.repro", "dvc.commands.status", "dvc.commands.experiments.run", "dvc.repo.reproduce"),
    *("dvc.repo.experiments.queue.workspace", "dvc.stage.run", "dvc.stage.cache", "dvc_data.index", "typer"),
)
OF_STAGES = (
    *("cv2", "scipy.stats", "sklearn.linear_model", "sklearn.metrics", "torch", "torchmetrics", "pytorch_lightning"),
    *(
        "mlflow",
        "mlflow.tracking",
        "mlflow.store.tracking.sqlalchemy_store",
        "matplotlib.figure",
        "onnx",
        "onnxruntime",
    ),
    *("safetensors", "jinja2"),
)
ROOT = Path(__file__).parents[1]
_STAGE = re.compile(r"exec python -m (pipeline\.\w+)")


def _modules(words: Sequence[str]) -> tuple[str, ...]:
    """Returns the modules that a command will import."""
    if words[0] == "python":
        light = words[2] in ("pipeline.watch", "pipeline.ingest", "pipeline.preprocess")
        return OF_ALL if light else (*OF_ALL, *OF_STAGES)
    runs = words[1] in ("repro", "exp")
    return (*OF_ALL, *OF_DVC, *(OF_STAGES if runs else ()))


def _in_fork(command: Callable[[], Any]) -> int:
    """Runs a function in a fork of this process, and returns its exit code, negative if a signal ended it."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    try:
        try:
            end = command()
        except SystemExit as raised:
            end = raised.code
        except BaseException:
            traceback.print_exc()
            end = 1
        if isinstance(end, str):
            print(end, file=sys.stderr)
            end = 1
        code = end or 0
        with contextlib.suppress(BaseException):  # as at the end of any Python process
            threading._shutdown()  # type: ignore[attr-defined]
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
    finally:
        os._exit(code)


def _enter(words: Sequence[str], folder: str, environment: Mapping[str, str]) -> None:
    """Moves this process to a folder and its environment, and unloads the project's own code."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for name in [name for name in sys.modules if name.partition(".")[0] in ("sightline", "pipeline", "tests")]:
        del sys.modules[name]
    first = [folder, *filter(None, environment["PYTHONPATH"].split(os.pathsep))]
    sys.path[:] = [*first, *(path for path in sys.path if path not in (*first, str(ROOT)))]
    importlib.invalidate_caches()
    sys.dont_write_bytecode = "PYTHONDONTWRITEBYTECODE" in environment
    sys.argv[:] = words


def _run_stage(module: str, words: Sequence[str], folder: str, environment: Mapping[str, str]) -> None:
    """Runs a stage's module like `python -m`."""
    _enter([module, *words], folder, environment)
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _run_dvc(words: Sequence[str]) -> int:
    """Runs a DVC command that runs its stages in forks."""
    import dvc.stage.run
    from dvc.cli import main
    from dvc.stage.exceptions import StageCmdFailedError

    begin = dvc.stage.run._run

    def run(executable: str, command: str, **settings: Any) -> None:
        match = _STAGE.fullmatch(command.strip())
        if match is None:
            begin(executable, command, **settings)
        elif code := _in_fork(lambda: _run_stage(match[1], [], str(settings["cwd"]), settings["env"])):
            raise StageCmdFailedError(command, code)

    dvc.stage.run._run = run
    return int(main(list(words)))


def _run(words: Sequence[str], folder: str, environment: Mapping[str, str], printed: str, seconds: float) -> Any:
    """Runs a command in this process, a fork made for it."""
    signal.setitimer(signal.ITIMER_REAL, seconds)
    output = os.open(printed, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    if words[0] == "python":
        return _run_stage(words[2], words[3:], folder, environment)
    _enter(words, folder, environment)
    return _run_dvc(words[1:]) if words[0] == "dvc" else importlib.import_module("sightline.cli").main()


def main() -> None:
    """Serves until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        command = json.loads(line)
        for name in _modules(command["words"]):
            importlib.import_module(name)
        print(_in_fork(lambda: _run(**command)), file=answers, flush=True)  # noqa: B023


if __name__ == "__main__":
    main()
