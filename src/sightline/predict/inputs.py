"""Inputs of prediction, as encoded images: files, folders, patterns, archives, URLs, lists and databases.

Everything is read lazily. No input is dropped silently: one that cannot be read raises an error when it is read.
"""

from __future__ import annotations

import errno
import functools
import glob
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
import numpy.typing as npt

from sightline.core.rejection import RejectionError, RejectionReason
from sightline.core.text import is_litter
from sightline.imaging.encoded import from_text
from sightline.sources.tree import read_file

LIST = "-"
"""Name of the input list on standard input, one input per line."""

_NAMED = 48  # letters of a data URL

ARCHIVES = (".zip", ".tar", ".tgz", ".tbz2", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst")


@dataclass(frozen=True, slots=True)
class Input:
    """One image to predict.

    Attributes:
        name: Its name, spelt as the user would.
        read: Returns the encoded file, or [h, w, 1 or 3] uint8 pixels, or raises RejectionError. Safe to call in any
            thread.
    """

    name: str
    read: Callable[[], bytes | npt.NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class Database:
    """The database for `db:TABLE` and `gridfs:BUCKET`, and the names of its columns.

    Attributes:
        url: Without a password; None takes SIGHTLINE_DATABASE_URL.
        id_column: Column or field of an image's id; None for `id` (SQL) and `_id` (MongoDB).
        image_column: Column or field of the encoded image.
    """

    url: str | None = None
    id_column: str | None = None
    image_column: str = "image"


def open_all(
    names: Iterable[str | os.PathLike[str]],
    max_bytes: int,
    database: Database | None = None,
    stdin: TextIO | None = None,
) -> Iterator[Input]:
    """Yields the images that `names` refer to, in a fixed order, without reading them yet.

    Args:
        names: Files, folders, patterns, archives, URLs (including `data:`), `db:TABLE`, `gridfs:BUCKET`; `-` for a list
            of these on standard input.
        max_bytes: Size limit of a file; larger ones are rejected.
        database: The database for `db:` and `gridfs:`.
        stdin: Replaces standard input.

    Raises:
        UserError: If a package that a kind of input needs is missing, or a database cannot be used.
    """
    for name in names:
        text = os.fspath(name)
        if text == LIST:
            lines = (line.rstrip("\r\n") for line in stdin or sys.stdin)
            yield from open_all((line for line in lines if line not in ("", LIST)), max_bytes, database)
        elif text.lower().startswith("data:") and not os.path.lexists(text):
            yield Input(shortened(text), functools.partial(from_text, text))
        elif text.startswith(("db:", "gridfs:")) and not os.path.lexists(text):
            from sightline.predict import database_inputs

            yield from database_inputs.database_images(text, database or Database(), max_bytes)
        elif "://" in text and not os.path.lexists(text):
            from sightline.predict import url_inputs

            yield from url_inputs.url_images(text, max_bytes)
        else:
            if not os.path.lexists(text):
                text = os.path.expanduser(text)  # noqa: PTH111 - the shell does not expand names in a list or in quotes
            for path in expand([text]):
                if is_archive(path) and Path(path).is_file() and not Path(text).is_dir():
                    from sightline.predict import archive_inputs

                    yield from archive_inputs.members(path, path, max_bytes)
                else:
                    yield Input(path, functools.partial(read_input, path, max_bytes))


def shortened(url: str) -> str:
    """Returns a short name for a data URL."""
    return url if len(url) <= _NAMED else f"{url[:_NAMED]}…"


def failed(name: str, reason: RejectionReason, detail: str) -> Input:
    """Returns an input that cannot be read."""
    return Input(name, functools.partial(_refuse, reason, detail))


def _refuse(reason: RejectionReason, detail: str) -> bytes:
    raise RejectionError(reason, detail)


def is_archive(name: str) -> bool:
    """Returns whether a file's name is that of an archive."""
    return name.lower().endswith(ARCHIVES)


def expand(inputs: Iterable[str]) -> Iterator[str]:
    """Yields the files that `inputs` name, in a fixed order, without dropping any input.

    A folder expands to the files in it and its subfolders, sorted by name, with a folder's own files first. Hidden
    files (as with a shell's `*`), files left by operating systems, and links to folders are omitted. A pattern (`*`,
    `?`, `[...]`, `**`) expands to the files that it matches, sorted. A name without any file, including an empty
    folder, is yielded unchanged, so that reading it reports the reason.
    """
    for name in inputs:
        # A file may be called `a[1].png`, so an existing name is not treated as a pattern.
        if glob.has_magic(name) and not os.path.lexists(name):
            # Not Path.glob, which changes the user's spelling and does not support absolute patterns.
            matches = sorted(glob.glob(name, recursive=True))  # noqa: PTH207 - see above
            # Hidden files match only patterns that ask for them, such as `.*.png`.
            files: Iterable[str] = (
                match
                for match in matches
                if os.path.isfile(match)  # noqa: PTH113 - the user's own spelling
                and (os.path.basename(match).startswith(".") or not is_litter(os.path.basename(match)))  # noqa: PTH119
            )
        else:
            files = _files(name)
        rest = iter(files)
        yield next(rest, name)
        yield from rest


def _files(path: str) -> Iterator[str]:
    if not Path(path).is_dir():
        yield path
        return
    # os.walk silently skips unreadable folders; their names are yielded, so that reading them reports an error.
    unreadable: list[str] = []
    for folder, subfolders, names in os.walk(path, onerror=lambda error: unreadable.append(error.filename)):
        subfolders[:] = sorted(name for name in subfolders if not is_litter(name))
        yield from unreadable
        unreadable.clear()
        for name in sorted(names):
            if not is_litter(name):
                yield os.path.join(folder, name)  # noqa: PTH118  (keeps the user's own spelling, `./` included)
    yield from unreadable


def read_input(path: str, max_bytes: int) -> bytes:
    """Reads an input file.

    Raises:
        RejectionError: If it is missing, unreadable, too large or not a regular file (a pipe might never end).
    """
    try:
        return read_file(path, max_bytes)
    except RejectionError as error:
        if error.reason is RejectionReason.MISSING and glob.has_magic(path):
            raise RejectionError(RejectionReason.MISSING, "no file matches") from None
        if error.detail == os.strerror(errno.EISDIR):
            raise RejectionError(RejectionReason.MISSING, "the folder contains no files") from None
        raise
