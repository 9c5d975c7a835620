"""Commands of a project in forks of a server that has already imported the libraries that they need."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
AT_START = {"PYTHONHASHSEED", "PYTHONPATH", "LC_ALL"}
"""Environment variables that Python reads when it starts."""
PLAIN = {"-S", "--set-param", "--name", "--json"}
"""Flags of commands that may run in a fork; other flags affect stages, which read their parent's command line."""

enabled = False
"""Whether commands run in forks; with `--full`, each starts as a new process."""


def can_run(words: Sequence[str], variables: Collection[str] = ()) -> bool:
    """Returns whether a command can run in a fork: a stage, or a DVC command or `sightline check` in a single process.

    Args:
        words: The command.
        variables: Names of its environment variables in addition to a user's.
    """
    if not enabled or AT_START & set(variables):
        return False
    if tuple(words[:2]) == ("python", "-m"):
        return words[2].startswith("pipeline.") and words[2] != "pipeline.sweep"
    served = (("dvc", "repro"), ("dvc", "status"), ("dvc", "exp", "run"), ("sightline", "check"))
    flags = {word for word in words if word.startswith("-")}
    return flags <= PLAIN and any(tuple(words[: len(each)]) == each for each in served)


def run(words: Sequence[str], folder: Path, environment: Mapping[str, str], seconds: float) -> tuple[int, str]:
    """Runs a command; returns its exit code and its output."""
    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    with tempfile.NamedTemporaryFile() as printed:
        request = {"words": words, "folder": str(folder), "environment": environment, "printed": printed.name}
        print(json.dumps({**request, "seconds": seconds}), file=server.stdin, flush=True)
        code = int(server.stdout.readline())
        return code, printed.read().decode(errors="replace")


@functools.cache
def _server() -> subprocess.Popen[str]:
    """Starts this process's server, which ends with this process."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DVC_", "MLFLOW_", "SIGHTLINE_", "PYTHON", "HYDRA_")) and not name.endswith("_THREADS")
    }
    # As the project's code sets them, before it imports the libraries that read them.
    early = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}
    early |= {"ORT_DISABLE_TELEMETRY": "1", "OMP_WAIT_POLICY": "PASSIVE", "DVC_NO_ANALYTICS": "1"}
    command = [sys.executable, "-m", "tests.command_server"]
    environment = {**kept, **early, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
