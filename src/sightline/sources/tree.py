"""A walk through a folder on disk that follows no link out of it, and the reading of its files."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sightline.core.errors import is_shortage
from sightline.core.rejection import RejectionError, RejectionReason
from sightline.core.text import is_litter
from sightline.sources.boundary import Boundary


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """An entry in a tree: anything but a folder, or a folder that is empty, unreadable or a link.

    Attributes:
        path: Relative to the root, with `/`; bytes that are not UTF-8 stay surrogates, as system calls need them.
        size: In bytes; for a link, the size of its target.
        stamp: A value that changes with its content: see `stamp`.
        fault: The reason why it cannot be read, or None.
        folder: Whether it is a folder.
    """

    path: str
    size: int
    stamp: tuple[int, int, int]
    fault: RejectionError | None = None
    folder: bool = False


NO_STAMP = (0, 0, 0)


def stamp(status: os.stat_result) -> tuple[int, int, int]:
    """Returns values that change with a file's content: mtime and ctime in nanoseconds, and the inode."""
    return status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def walk(root: Path, empty: bool = False, litter: bool = False, stamped: bool = True) -> Iterator[TreeEntry]:
    """Yields everything below `root` except folders and litter, sorted by path; memory holds one folder per level.

    A link to a file is followed if it stays inside the root, or leads to DVC's copy of the file. A link to a folder is
    not followed: it could be circular.

    Args:
        root: A folder.
        empty: Whether to yield empty folders as well.
        litter: Whether to yield files left by an operating system or a program as well.
        stamped: Whether to determine size and stamp of plain files as well, which takes a system call each.
    """
    yield from _walk(root, "", Boundary(root), empty, litter, stamped)


def _walk(root: Path, folder: str, boundary: Boundary, empty: bool, litter: bool, stamped: bool) -> Iterator[TreeEntry]:
    try:
        with os.scandir(root / folder) as entries:
            # Sorting a folder as "name/" puts the paths as a whole into code-point order.
            kept = [entry for entry in entries if litter or not is_litter(entry.name)]
            inside = sorted(kept, key=lambda e: e.name + "/" if e.is_dir(follow_symlinks=False) else e.name)
    except OSError as error:
        if is_shortage(error):
            raise
        yield TreeEntry(
            folder.rstrip("/"), 0, NO_STAMP, RejectionError(RejectionReason.UNREADABLE, f"folder: {error.strerror}")
        )
        return
    if empty and folder and not inside:
        yield TreeEntry(folder.rstrip("/"), 0, NO_STAMP, folder=True)
    for entry in inside:
        path = folder + entry.name
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(root, f"{path}/", boundary, empty, litter, stamped)
        elif not stamped and entry.is_file(follow_symlinks=False):
            yield TreeEntry(path, 0, NO_STAMP)
        else:
            yield _entry(entry, path, boundary)


def _entry(entry: os.DirEntry[str], path: str, boundary: Boundary) -> TreeEntry:
    try:
        if entry.is_symlink() and not boundary.holds(os.path.realpath(entry.path)):
            fault = RejectionError(RejectionReason.UNSAFE_ENTRY, "a link that leads out of the folder")
            return TreeEntry(path, 0, NO_STAMP, fault, folder=entry.is_dir())
        status = entry.stat()
    except FileNotFoundError:
        return TreeEntry(path, 0, NO_STAMP, RejectionError(RejectionReason.MISSING, "no such file, or a link to none"))
    except OSError as error:
        if is_shortage(error):
            raise
        fault = RejectionError(RejectionReason.UNREADABLE, error.strerror or type(error).__name__)
        return TreeEntry(path, 0, NO_STAMP, fault)
    if stat.S_ISDIR(status.st_mode):
        fault = RejectionError(RejectionReason.UNSAFE_ENTRY, "a link to a folder; links to files are followed")
        return TreeEntry(path, 0, NO_STAMP, fault, folder=True)
    if not stat.S_ISREG(status.st_mode):
        return TreeEntry(path, 0, NO_STAMP, RejectionError(RejectionReason.UNREADABLE, "neither a file nor a folder"))
    return TreeEntry(path, status.st_size, stamp(status))


def read_file(path: Path | str, max_bytes: int) -> bytes:
    """Reads a regular file of at most `max_bytes`.

    Raises:
        RejectionError: If it is larger, missing, not a regular file, or cannot be read.
    """
    try:
        # Without O_NONBLOCK this would wait for a writer if a pipe has replaced the file since it was listed.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            status = os.fstat(descriptor)
            size = status.st_size
            if stat.S_ISDIR(status.st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            if not stat.S_ISREG(status.st_mode):
                raise RejectionError(RejectionReason.UNREADABLE, "not a regular file")
            if size > max_bytes:
                raise RejectionError(
                    RejectionReason.TOO_MANY_BYTES, f"{size:,} bytes, at most {max_bytes:,} are allowed"
                )
            data = os.read(descriptor, size)
            while len(data) < size and (more := os.read(descriptor, size - len(data))):
                data += more
            return data
        finally:
            os.close(descriptor)
    except RejectionError:
        raise
    except FileNotFoundError:
        raise RejectionError(RejectionReason.MISSING, "no such file") from None
    except OSError as error:
        if is_shortage(error):
            raise
        raise RejectionError(RejectionReason.UNREADABLE, error.strerror or type(error).__name__) from None
    except ValueError as error:  # a null byte in the name
        raise RejectionError(RejectionReason.UNREADABLE, str(error)) from None
