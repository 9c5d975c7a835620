"""Failing system calls in a stage's run, and the behaviour required of the stage."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import mmap
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.pipeline.project import OUTPUTS, Project

ROOT = Path(__file__).parents[2]
CALLS = ("open", "write", "sync", "rename", "map")
ERRORS = {
    "open": (errno.EMFILE, errno.EACCES, errno.EIO, errno.ENOSPC),
    "write": (errno.ENOSPC, errno.EIO),
    "sync": (errno.EIO, errno.ENOSPC),
    "rename": (errno.EACCES, errno.EIO, errno.ENOSPC),
    "map": (errno.ENOMEM, errno.EMFILE),
}
"""The `errno` values that each call may fail with."""
LEFT_BEHIND = re.compile(r"/\.[^/]+\.\w+\.(tmp|old)(/|$)")
"""Temporary and old files that could not be removed; the next run removes them."""


@dataclass(frozen=True)
class Fault:
    """The Nth call of a kind (counted from 1) that concerns a file of the project, and the error it fails with."""

    call: str
    nth: int
    error: int

    def __str__(self) -> str:
        return f"{self.call} {self.nth}: {errno.errorcode[self.error]}"


@dataclass(frozen=True)
class StageRan:
    """A stage's run: its exit code (negative for a signal) and its output."""

    code: int
    output: str


class State(ctypes.Structure):
    """Memory that `calls.c` shares with this process."""

    _fields_ = (
        ("counts", ctypes.c_long * len(CALLS)),
        ("nth", ctypes.c_long),
        ("call", ctypes.c_int),
        ("error", ctypes.c_int),
    )


def build(folder: Path) -> Path:
    """Compiles `calls.c`, and returns the path of the library."""
    library = folder / "calls.so"
    source = Path(__file__).with_name("calls.c")
    compiled = subprocess.run(
        ["cc", "-O2", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], capture_output=True, text=True
    )
    assert compiled.returncode == 0, compiled.stderr
    return library


class FaultyStage:
    """Runs one stage in a project's folder with a failing call.

    Args:
        project: The project.
        stage: The stage's name.
        library: The library from `build`.
        folder: Folder for the files of this object.
        variables: Further environment variables.
    """

    def __init__(self, project: Project, stage: str, library: Path, folder: Path, **variables: str) -> None:
        self.printed = folder / f"{stage}.printed"
        shared = folder / f"{stage}.state"
        shared.write_bytes(bytes(ctypes.sizeof(State)))
        with shared.open("r+b") as stream:
            self.state = State.from_buffer(mmap.mmap(stream.fileno(), 0))
        script = str(ROOT / "pipeline" / f"{stage}.py")
        environment = project.environment(
            PYTHONPATH=f"{ROOT}/src:{ROOT}",
            PYTHONDONTWRITEBYTECODE="1",
            OMP_NUM_THREADS="1",
            LD_PRELOAD=str(library),
            FAULTS_STATE=str(shared),
            FAULTS_ROOT=str(project.root),
            **variables,
        )
        self.server = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.stage_server", script, str(folder / f"{stage}.modules")],
            cwd=project.root,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, fault: Fault | None = None) -> StageRan:
        """Runs the stage; afterwards, `counts` refers to this run."""
        self.state.counts[:] = [0] * len(CALLS)
        self.state.nth = fault.nth if fault else 0
        self.state.call = CALLS.index(fault.call) if fault else 0
        self.state.error = fault.error if fault else 0
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        print(self.printed, file=self.server.stdin, flush=True)
        code = int(self.server.stdout.readline())
        self.state.nth = 0
        return StageRan(code, self.printed.read_text(errors="replace"))

    @property
    def counts(self) -> dict[str, int]:
        """The number of calls of each kind that the last run made."""
        return dict(zip(CALLS, self.state.counts, strict=True))

    def close(self) -> None:
        """Ends the process."""
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.close()
        self.server.wait()
        self.server.stdout.close()


def digests(project: Project) -> dict[str, str]:
    """Returns the digest of every file below the folders that the stages write."""
    files = (path for folder in OUTPUTS for path in (project.root / folder).rglob("*") if path.is_file())
    return {str(path.relative_to(project.root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def replace_tree(source: Path, target: Path) -> None:
    """Replaces the content of `target` by that of `source`, but not the folder, which processes have as their cwd."""
    for path in target.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)


def complaint(stage: str, ran: StageRan, before: dict[str, str], after: dict[str, str], good: dict[str, str]) -> str:
    """Returns what is wrong with how a stage handled a failed call, or "" if nothing is.

    Args:
        stage: The stage's name.
        ran: Its run with the fault.
        before: Digests of the outputs before the run.
        after: Digests of the outputs after the run.
        good: Digests of the outputs of an undisturbed run.
    """
    if "Traceback (most recent" in ran.output:
        return "a traceback"
    if ran.code == 0:
        kept = {path: digest for path, digest in after.items() if not LEFT_BEHIND.search(path)}
        different = sorted(path for path in good.keys() | kept.keys() if good.get(path) != kept.get(path))
        return f"exit 0, but not the undisturbed outputs: {different[:3]}" if different else ""
    if ran.code != 2:
        return f"exit code {ran.code}"
    lines = [line for line in ran.output.splitlines() if line.startswith(f"{stage}: ")]
    if not lines:
        return "exit code 2 without a line that says why"
    known = [path for path in after if not LEFT_BEHIND.search(path)]
    mixed = sorted(path for path in known if after[path] not in (before.get(path), good.get(path)))
    lost = sorted(path for path in before if path in good and path not in after)
    return f"neither the old outputs nor the new: {mixed[:3]} {lost[:3]}" if mixed or lost else ""
