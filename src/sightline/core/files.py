"""Crash-safe file writes: a crash at any point leaves the old content or the new, never a mixture."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sightline.core.errors import WRITING, UserError

STATE = Path(".sightline")
"""Folder in the project's root for files that are neither inputs nor outputs: locks, checkpoints, caches."""


def canonical_json(value: Any) -> str:
    """Returns `value` as JSON with sorted keys: equal values give equal text, in every process."""
    return json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def sha256(data: bytes) -> str:
    """Returns the SHA-256 of `data` as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Returns the SHA-256 of the file's content as 64 hexadecimal digits, read in constant memory."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_tree(root: Path) -> str:
    """Returns one digest for a folder: of every file's relative path and content, in sorted order, except `.pyc`."""
    digest = hashlib.sha256()
    for path in sorted(p for p in root.rglob("*") if p.is_file() and p.suffix != ".pyc"):
        digest.update(f"{path.relative_to(root).as_posix()}\0{sha256_file(path)}\n".encode())
    return digest.hexdigest()


def fsync_path(path: Path) -> None:
    """Makes a file's content, or a directory's entries, durable (on POSIX a rename is a change of the directory)."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# The process that writes a temporary file or folder holds a lock on it, which the kernel releases however the process
# ends: one that can be locked was abandoned. (On a file system without locks, none is ever removed.)


def _make(prefix: str, suffix: str, parent: Path, folder: bool) -> tuple[Path, int]:
    """Creates a temporary file or folder, and returns it with the file descriptor that holds its lock."""
    while True:
        if folder:
            path = Path(tempfile.mkdtemp(suffix, prefix, parent))
        else:
            descriptor, name = tempfile.mkstemp(suffix, prefix, parent)
            os.close(descriptor)
            path = Path(name)
        try:
            held = os.open(path, os.O_RDONLY)
            with contextlib.suppress(OSError):
                fcntl.flock(held, fcntl.LOCK_EX)
            if path.exists():
                return path, held
            os.close(held)
        except FileNotFoundError:
            pass
        except BaseException:
            _remove(path)
            raise
        # Another process removed it as abandoned before it was locked: try again.


@contextlib.contextmanager
def _temporary(prefix: str, suffix: str, parent: Path, folder: bool) -> Iterator[Path]:
    path, held = _make(prefix, suffix, parent, folder)
    try:
        yield path
    finally:
        try:
            _remove(path)
        finally:
            os.close(held)


@contextlib.contextmanager
def temporary_folder(prefix: str, suffix: str, parent: Path) -> Iterator[Path]:
    """Yields a new folder that `remove_abandoned` leaves alone; it is removed after the block if it still exists."""
    with _temporary(prefix, suffix, parent, folder=True) as folder:
        yield folder


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def _abandoned(path: Path) -> Iterator[bool]:
    """Yields whether no living process owns a temporary file or folder; if so, none can take it during the block."""
    held = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free = True
        except OSError:
            free = False
        yield free
    finally:
        os.close(held)


def remove_abandoned(path: Path) -> bool:
    """Removes a temporary file or folder unless a living process owns it; returns whether it was removed."""
    try:
        with _abandoned(path) as abandoned:
            if abandoned:
                _remove(path)
            return abandoned
    except OSError:
        return False


def _clear(path: Path) -> None:
    """Removes what killed processes left next to `path`, and restores its old content if that had been moved away."""
    named = re.compile(rf"{re.escape(f'.{path.name}.')}\w+\.(tmp|old)")
    try:
        left = sorted(beside for beside in path.parent.iterdir() if named.fullmatch(beside.name))  # .old before .tmp
    except OSError:
        return
    for beside in left:
        if beside.suffix == ".tmp":
            remove_abandoned(beside)
        elif not (fresh := beside.with_suffix(".tmp")).exists():  # it has already replaced `path`
            shutil.rmtree(beside, ignore_errors=True)
        else:
            with contextlib.suppress(OSError), _abandoned(fresh) as abandoned:
                if abandoned and path.exists():
                    shutil.rmtree(beside, ignore_errors=True)
                elif abandoned:  # the process was killed between the two renames
                    beside.rename(path)


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yields a temporary path in the same directory, which replaces `path` when the block ends without an error.

    The file is synced to disk before the rename, and the directory after it. The old file is always replaced, never
    written in place: DVC may have hard-linked it into its cache, which would change as well. Leftovers of killed
    processes are removed first.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _clear(path)
    with noting(path), _temporary(f".{path.name}.", ".tmp", path.parent, folder=False) as temporary:
        yield temporary
        fsync_path(temporary)
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
        fsync_path(path.parent)


@contextlib.contextmanager
def noting(path: Path) -> Iterator[None]:
    """Adds a note to an error with the innermost file or folder being written: few errors of a full disk name it."""
    try:
        yield
    except Exception as error:
        if not any(note.startswith(WRITING) for note in getattr(error, "__notes__", ())):
            error.add_note(f"{WRITING}{path}")
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_bytes(path: Path, data: bytes) -> None:
    """Writes `data` to `path` atomically."""
    with atomic_file(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Writes `text` to `path` atomically, as UTF-8."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Writes `value` to `path` atomically, as canonical JSON."""
    write_text(path, canonical_json(value))


@contextlib.contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Yields an empty directory next to `path`, which replaces it when the block ends without an error.

    An error leaves `path` as it was. (A rename cannot replace a non-empty directory; between the two renames only the
    old content exists, under its temporary name, never half of the new.) The files are synced to disk before that.
    Leftovers of killed processes next to `path` are removed first.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _clear(path)
    with noting(path), temporary_folder(f".{path.name}.", ".tmp", path.parent) as fresh:
        fresh.chmod(0o777 & ~_umask())
        yield fresh
        for written in fresh.rglob("*"):
            if not written.is_symlink():
                fsync_path(written)
        fsync_path(fresh)
        if path.exists():
            old = fresh.with_suffix(".old")
            path.rename(old)
            try:
                fresh.rename(path)
            except BaseException:
                old.rename(path)
                raise
            shutil.rmtree(old, ignore_errors=True)  # another process may be removing it as well
        else:
            fresh.rename(path)
        fsync_path(path.parent)


class LockedError(UserError):
    """Another process holds the lock."""


@contextlib.contextmanager
def lock(name: str, root: Path = STATE) -> Iterator[None]:
    """Holds the lock `name` while the block runs.

    Raises:
        LockedError: If another process holds it, with that process's id.
    """
    root.mkdir(parents=True, exist_ok=True)
    with (root / f"{name}.lock").open("a+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.seek(0)
            holder = stream.read().strip() or "unknown"
            raise LockedError(f"{name} is already running here (process {holder}): wait for it, or stop it") from None
        stream.seek(0)
        stream.truncate()
        stream.write(str(os.getpid()))
        stream.flush()
        yield


@contextlib.contextmanager
def waiting_lock(name: str, root: Path = STATE) -> Iterator[None]:
    """Holds the lock `name` while the block runs, after waiting for it as long as it takes."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / f"{name}.lock").open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def die_with_parent(parent: int | None = None) -> None:
    """Asks the kernel to kill this process when its parent ends (Linux only; elsewhere it does nothing).

    Otherwise `kill -9` of DVC leaves the stage running, and the next `dvc repro` starts a second writer.

    Args:
        parent: The parent's process id, if known: if the parent has already ended, this process ends at once.
    """
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, signal.SIGKILL)
        if parent is not None and os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
