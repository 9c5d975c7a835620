"""Files that DVC keeps in a project's folder, and their repair after DVC was killed.

DVC writes `dvc.lock` and `.dvc/tmp/rwlock` in place. If it is killed while writing, it leaves them empty or truncated,
and every later DVC command ends with code 255 until they are repaired.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sightline.core import files, git
from sightline.core.errors import UserError

LOCK = Path("dvc.lock")
KEPT = files.STATE / "dvc.lock"
RWLOCK = Path(".dvc/tmp/rwlock")
"""DVC's list of the files that its running processes read and write."""

_SECONDS = 3.0  # that another DVC process gets to finish writing


def begin_stage() -> None:
    """Prepares a process that DVC runs as a stage, before anything else: it will end when DVC does."""
    files.die_with_parent()
    if _orphaned():
        sys.exit("the dvc that started this stage has ended")
    with contextlib.suppress(OSError):  # a full disk: the stage's own writes will report it
        keep_lock()


def keep_lock() -> None:
    """Keeps a copy of `dvc.lock` while a stage runs: DVC has just read it, so it is valid, and will rewrite it."""
    with contextlib.suppress(FileNotFoundError):  # the first stage of a new project
        now = LOCK.read_bytes()
        if not KEPT.is_file() or KEPT.read_bytes() != now:
            files.write_bytes(KEPT, now)


def _orphaned() -> bool:
    """Returns whether the DVC that started this process ended before this process asked to end with it.

    The process's parent after that depends on the machine, but DVC records a stage in `RWLOCK` before it starts it.
    """
    try:
        noted = {blocker["pid"] for blocker in json.loads(RWLOCK.read_text())["write"].values()}
        return noted.isdisjoint(_ancestors())
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return False  # unknown: another operating system, or another DVC process has just been killed as well


def _ancestors() -> Iterator[int]:
    process = os.getppid()
    while process > 0:
        yield process
        process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def repair() -> list[str]:
    """Repairs the files that a killed DVC damaged in the project's folder, the current directory.

    Returns:
        A line for each repaired file.

    Raises:
        UserError: If a file is damaged but cannot be repaired safely.
    """
    if not Path("dvc.yaml").is_file():
        raise UserError(f"{Path.cwd()} contains no dvc.yaml: run it in the project's folder")
    done = []
    if _damaged_rwlock():
        with _guard():
            if _damaged_rwlock():  # checked again under the lock, so that nobody is about to write it
                _refuse_while_dvc_runs(RWLOCK)
                RWLOCK.unlink()
                done.append(f"{RWLOCK} was cut short when dvc was killed: removed")
    if _damaged_lock():
        _refuse_while_dvc_runs(LOCK)
        source = _restore()
        done.append(f"{LOCK} was cut short when dvc was killed: {source}")
    return done


def damaged() -> list[Path]:
    """Returns the files that a killed DVC left damaged; `repair` repairs them."""
    return [path for path, is_damaged in ((RWLOCK, _damaged_rwlock), (LOCK, _damaged_lock)) if is_damaged()]


def _damaged_rwlock() -> bool:
    from dvc.rwlock import SCHEMA
    from voluptuous import Invalid

    try:
        SCHEMA(json.loads(RWLOCK.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return False
    except (ValueError, Invalid):
        return True
    return False


def _damaged_lock() -> bool:
    try:
        content = LOCK.read_bytes()
    except FileNotFoundError:
        return False
    if KEPT.is_file() and KEPT.read_bytes() == content:  # unchanged since the last stage started
        return False
    return not _is_sound(content)


def _is_sound(content: bytes) -> bool:
    """Returns whether this is a complete lock file: it ends with a newline, as a truncated one may still be valid."""
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from dvc.utils.serialize import YAMLFileCorruptedError, parse_yaml
    from voluptuous import Invalid

    if not content.endswith(b"\n"):
        return False
    try:
        COMPILED_LOCKFILE_SCHEMA(parse_yaml(content.decode(), str(LOCK)))
    except (UnicodeDecodeError, YAMLFileCorruptedError, Invalid):
        return False
    return True


def _restore() -> str:
    """Replaces the damaged `dvc.lock` by the last valid one, and returns a description of where that comes from.

    For stages that have run since then, DVC finds the results in its run cache.
    """
    content = LOCK.read_bytes()
    if any(line.startswith((b"<<<<<<< ", b">>>>>>> ")) for line in content.splitlines()):
        raise UserError(f"{LOCK} contains both sides of a merge: git checkout --ours {LOCK}, then dvc repro")
    if content:
        files.write_bytes(KEPT.with_name(f"{LOCK.name}.damaged"), content)
    if KEPT.is_file() and _is_sound(kept := KEPT.read_bytes()):
        files.write_bytes(LOCK, kept)
        return "restored as it was when the last stage began"
    committed = git.stdout("show", f"HEAD:./{LOCK}")
    if committed is not None and _is_sound(committed):
        files.write_bytes(LOCK, committed)
        return "restored from the last commit"
    LOCK.unlink()
    return "removed, because there was no copy; dvc repro writes it again"


@contextlib.contextmanager
def _guard() -> Iterator[None]:
    """Holds the lock under which DVC writes `RWLOCK`, or waits long enough for any writer to finish."""
    with RWLOCK.with_name("rwlock.lock").open("a") as stream:
        deadline = time.monotonic() + _SECONDS
        while time.monotonic() < deadline:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                time.sleep(0.05)
        yield


def _refuse_while_dvc_runs(path: Path) -> None:
    """Raises UserError if DVC is running in this project: a repair would lose what it is writing."""
    import psutil

    here, mine = Path.cwd().resolve(), {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words: list[Any] = process.cmdline()
            is_dvc = any(Path(word).name == "dvc" for word in words[:3])  # dvc; python dvc; python -m dvc
            if is_dvc and process.pid not in mine and Path(process.cwd()).is_relative_to(here):
                raise UserError(
                    f"{path} is damaged, and dvc is running here (process {process.pid}): wait for it, or stop it"
                )


# --- what DVC tracks -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TrackedPath:
    """A file or folder tracked by DVC through a `.dvc` file next to it.

    Attributes:
        path: The file or folder, which need not exist.
        pointer: The `.dvc` file: `data/birds.dvc` for `data/birds`.
        md5: The digest of its content; for a folder it ends in `.dir`.
        files: Number of files in the folder; 1 for a file.
    """

    path: Path
    pointer: Path
    md5: str
    files: int


def tracked(path: Path) -> TrackedPath | None:
    """Returns the tracked file or folder that a path belongs to, itself or the nearest parent; None if untracked.

    Raises:
        UserError: If a `.dvc` file cannot be read.
    """
    for place in (path, *path.parents) if path.is_absolute() else (path, *path.parents, *path.absolute().parents):
        pointer = place.with_name(f"{place.name}.dvc") if place.name not in ("", "..") else None
        if pointer is not None and pointer.is_file():
            try:
                found = pointed(place, pointer, pointer.read_bytes())
            except (OSError, ValueError):
                raise UserError(f"{pointer}: not a DVC file; fix it, or run `dvc add {place}`") from None
            if found:
                return found
    return None


def pointed(path: Path, pointer: Path, content: bytes) -> TrackedPath | None:
    """Returns the tracked path described by the content of a `.dvc` file; None if it describes another path.

    Raises:
        ValueError: If it is not a DVC file.
    """
    import yaml

    try:
        outs = [out for out in yaml.safe_load(content)["outs"] if out["path"] == path.name and "md5" in out]
        return TrackedPath(path, pointer, str(outs[0]["md5"]), int(outs[0].get("nfiles", 1))) if outs else None
    except (LookupError, TypeError, yaml.YAMLError) as error:
        raise ValueError(str(error)) from None


def pull_missing(path: Path) -> bool:
    """Pulls the tracked file or folder that a path belongs to if it is missing; returns whether it did so.

    Raises:
        UserError: If DVC cannot pull it.
    """
    there = tracked(path)
    if there is None or os.path.lexists(there.path):
        return False
    command = [sys.executable, "-m", "dvc", "pull", "--quiet", str(there.pointer)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        lines = done.stdout.splitlines()
        message = next((line for line in lines if line.startswith("ERROR")), done.stdout.strip()[-300:])
        raise UserError(f"{there.path} is not here, and `dvc pull {there.pointer}` cannot fetch it: {message}")
    return True
