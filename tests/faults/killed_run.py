"""The processes of a running `dvc repro`, and what a kill of one must not leave."""

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
"""In which every process of a killed run ends."""


def processor_seconds() -> float:
    """Returns the processor time that the running `dvc repro` has used with all that it started; 0 where none runs."""
    with contextlib.suppress(OSError):
        return sum(_ticks(child) for child in _children(forked._server().pid)) / os.sysconf("SC_CLK_TCK")
    return 0.0


def _ticks(process: int) -> int:
    own = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:15]  # and of children that ended
    return sum(map(int, own)) + sum(map(_ticks, _children(process)))


def _children(process: int) -> list[int]:
    return [
        int(child) for path in Path(f"/proc/{process}/task").glob("*/children") for child in path.read_text().split()
    ]


def victims_of(target: str) -> list[psutil.Process]:
    """Returns the processes of the running `dvc repro` that are to be killed; none where they are not there (yet)."""
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
    """Returns what is wrong with what a killed run printed: a traceback, or not as many errors as there should be."""
    if "Traceback (most recent" in ran.output:
        return "a traceback"
    found = [line for line in ran.output.splitlines() if line.startswith("ERROR")]
    return f"{len(found)} errors instead of {errors}" if len(found) != errors else ""


def left_wrong(project: Project, before: dict[str, str], good: dict[str, str]) -> str:
    """Returns what is wrong with what a killed run has left: processes, files that are neither old nor new."""
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
