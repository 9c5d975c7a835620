"""The processes of a running `dvc repro`, and what must not remain after one is killed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from pathlib import Path
from typing import Any

import psutil
import yaml

from tests import forked
from tests.faults.stage_faults import LEFT_BEHIND, digests
from tests.pipeline.project import Project, Ran

DVC, STAGE, GROUP, WORKER = PARTS = ("dvc", "stage", "process group", "worker")
SECONDS = 30.0
"""Time limit for all processes of a killed run to end."""


def processor_seconds() -> float:
    """Returns the CPU seconds of the running `dvc repro` and all its descendants, or 0 if none is running."""
    with contextlib.suppress(OSError):
        return sum(_ticks(child) for child in _children(forked._server().pid)) / os.sysconf("SC_CLK_TCK")
    return 0.0


def _ticks(process: int) -> int:
    own = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:15]  # includes ended children
    return sum(map(int, own)) + sum(map(_ticks, _children(process)))


def _children(process: int) -> list[int]:
    return [
        int(child) for path in Path(f"/proc/{process}/task").glob("*/children") for child in path.read_text().split()
    ]


def victims_of(target: str) -> list[psutil.Process]:
    """Returns the processes of the running `dvc repro` to kill; none if they do not exist (yet)."""
    try:
        server = psutil.Process(forked._server().pid)
        command = server.cmdline()
        (dvc,) = server.children()
        stage = [child for child in dvc.children() if child.cmdline() == command]
        match target:
            case "dvc":
                return [dvc]
            case "stage":
                return stage
            case "process group":
                return [dvc, *dvc.children(recursive=True)]
            case _:  # a worker
                below = [child for process in stage for child in process.children(recursive=True)]
                return [child for child in below if Path(child.name()).name.startswith("python")][-1:]
    except (psutil.NoSuchProcess, ValueError):
        return []


def complaint(ran: Ran, errors: int) -> str:
    """Returns what is wrong with the output of a killed run: a traceback, or an unexpected number of errors."""
    if "Traceback (most recent" in ran.output:
        return "a traceback"
    found = [line for line in ran.output.splitlines() if line.startswith("ERROR")]
    return f"{len(found)} errors instead of {errors}" if len(found) != errors else ""


def left_wrong(project: Project, before: dict[str, str], good: dict[str, str]) -> str:
    """Returns what is wrong after a killed run: remaining processes, or files that are neither old nor new."""
    deadline = time.monotonic() + SECONDS
    while (alive := project.processes()) and time.monotonic() < deadline:
        time.sleep(0.02)
    if alive:
        return f"still running: {[process.pid for process in alive]}"
    known = {path: digest for path, digest in digests(project).items() if not LEFT_BEHIND.search(path)}
    mixed = [path for path, digest in known.items() if digest not in (before.get(path), good.get(path))]
    cache = project.root / ".dvc/cache/files/md5"
    damaged = [
        str(path.relative_to(cache))
        for path in cache.glob("??/*")
        if len(path.name.removesuffix(".dir")) == 30
        and hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        != path.parent.name + path.name.removesuffix(".dir")
    ]
    return f"neither old nor new: {mixed[:3]}, in the cache: {damaged[:3]}" if mixed or damaged else ""


def lock_of(project: Project) -> Any:
    return yaml.safe_load(project.read("dvc.lock"))["stages"]
