"""What a user names on the command line, as files: paths, folders and patterns."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from sightline.reasons import Reason, Rejected


def expand(inputs: Iterable[str]) -> Iterator[str]:
    """Yields the files that `inputs` name, in a fixed order; no input disappears.

    A folder stands for the files below it, each folder's own first, sorted by name; hidden ones (as a shell's `*` does)
    and links to folders are left out. A pattern (`*`, `?`, `[...]`, `**`) stands for the files that it matches, sorted.
    What names no file, an empty folder included, is yielded as it is, so that reading it says why.
    """
    for name in inputs:
        # A file may well be called `a[1].png`: a name that exists is no pattern.
        if glob.has_magic(name) and not os.path.lexists(name):
            # Not Path.glob, which changes the user's spelling and takes no absolute pattern.
            matches = sorted(glob.glob(name, recursive=True))  # noqa: PTH207
            files: Iterable[str] = filter(os.path.isfile, matches)
        else:
            files = _files(name)
        rest = iter(files)
        yield next(rest, name)
        yield from rest


def _files(path: str) -> Iterator[str]:
    if not Path(path).is_dir():
        yield path
        return
    # os.walk stays silent about a folder that it may not read; its name is yielded instead, for reading to say so.
    unreadable: list[str] = []
    for folder, subfolders, names in os.walk(path, onerror=lambda error: unreadable.append(error.filename)):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        yield from unreadable
        unreadable.clear()
        for name in sorted(names):
            if not name.startswith("."):
                yield os.path.join(folder, name)  # noqa: PTH118  (keeps the user's own spelling, `./` included)
    yield from unreadable


def read(path: str | os.PathLike[str], max_bytes: int) -> bytes:
    """Reads an input file.

    Raises:
        Rejected: If there is none, it may not be read, is no regular file (a pipe would never end) or too large.
    """
    try:
        with open(path, "rb", opener=_open) as stream:
            status = os.fstat(stream.fileno())
            if stat.S_ISREG(status.st_mode) and status.st_size <= max_bytes:
                return stream.read()
    except FileNotFoundError:
        magic = glob.has_magic(os.fspath(path))
        raise Rejected(Reason.MISSING, "no file matches" if magic else "no such file") from None
    except IsADirectoryError:
        raise Rejected(Reason.MISSING, "the folder holds no file") from None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise Rejected(Reason.UNREADABLE, getattr(error, "strerror", None) or str(error)) from None
    if not stat.S_ISREG(status.st_mode):
        raise Rejected(Reason.UNREADABLE, "not a regular file")
    raise Rejected(Reason.TOO_MANY_BYTES, f"{status.st_size:,} bytes, allowed {max_bytes:,}")


def _open(path: str, flags: int) -> int:
    """Opens without waiting: a pipe that nobody writes to would hold us for ever."""
    return os.open(path, flags | os.O_NONBLOCK)
