"""Digests of files that have not changed since the last run, kept in a file with one line per file.

The lines are in the order in which files were visited. If the next run visits them in the same order, it reads the
lines as it goes: memory holds a single line, however many files there are.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from json.encoder import encode_basestring_ascii
from pathlib import Path
from typing import IO

from sightline.core import files
from sightline.core.progress import track

_BLOCK = 2**20
_END = b'"]\n'
"""The end of a line, following the digest."""
_SETTLED = 2 * 10**9
"""Nanoseconds after which another change gives a file another time, on any file system."""


def _line_start(path: str, size: int, stamp: Sequence[int]) -> bytes:
    """Returns the line of a file up to its digest: the same as `json.dumps`, in a third of the time."""
    return f'[{encode_basestring_ascii(path)}, {size}, {", ".join(map(str, stamp))}, "'.encode()


class EarlierLook:
    """The files and digests of the last run.

    Args:
        lines: For each file a JSON array: relative path, size, times and inode, digest.
        in_order: Whether paths are requested in ascending order, like the lines: then no line needs to be kept.

    Attributes:
        skipped: Whether the last run had a file that was not requested in its place.
    """

    def __init__(self, lines: Iterator[bytes], in_order: bool) -> None:
        self.skipped = False
        self._in_order = in_order
        self._lines = lines
        self._line = next(lines, b"")
        self._path: str | None = None  # path in `_line`, once that has been parsed
        self._passed: dict[str, bytes] = {}

    def line_of(self, path: str, start: bytes) -> bytes | None:
        """Returns the line of a path, which is requested only once; None if it was not in the last run.

        Args:
            path: Relative path.
            start: The line up to its digest if the file is unchanged, so that the line need not be parsed.
        """
        line = self._line
        if line.startswith(start) and line.endswith(_END):
            self._go_on()
            return line
        if path in self._passed:
            return self._passed.pop(path)
        while self._line:
            there = self._next_path()
            if there == path:
                line = self._line
                self._go_on()
                return line
            if there is not None:
                if self._in_order and there > path:
                    return None
                if not self._in_order:
                    self._passed[there] = self._line
                self.skipped = True
            self._go_on()
        return None

    @property
    def at_end(self) -> bool:
        """Whether all files have been visited."""
        return not self._line

    def _go_on(self) -> None:
        self._line, self._path = next(self._lines, b""), None

    def _next_path(self) -> str | None:
        """Returns the path of the next line; None if the line is truncated or invalid."""
        if self._path is None:
            with contextlib.suppress(ValueError, LookupError, TypeError):
                path, *_, digest = json.loads(self._line)
                if isinstance(path, str) and isinstance(digest, str):
                    self._path = path
        return self._path


class KnownDigests:
    """Digests of the files below a folder, taken from the last run if a file is unchanged.

    Args:
        root: The folder.
        earlier: The last run.
        now: The file for the lines of this run; None to write none.

    Attributes:
        changed: Whether any file is new or has changed.
    """

    def __init__(self, root: Path, earlier: EarlierLook, now: IO[bytes] | None = None) -> None:
        self.changed = False
        self._root = root
        self._earlier = earlier
        self._now = now

    def md5(self, path: str, size: int, stamp: Sequence[int], shown: bool = False) -> str:
        """Returns the MD5 of the file at a relative path; raises OSError if it cannot be read.

        Args:
            path: Relative to the root.
            size: In bytes.
            stamp: Values that change with its content: see `tree.stamp`.
            shown: Whether to show progress.
        """
        start = _line_start(path, size, stamp)
        line = self._earlier.line_of(path, start)
        if line is not None and line.startswith(start):
            digest = line[len(start) : -len(_END)].decode()
        else:
            self.changed = True
            digest = self._computed(path, size, shown)
            if time.time_ns() - max(stamp[:2]) < _SETTLED:
                return digest  # not kept: the file may change again within the same clock tick
            line = start + digest.encode() + _END
        if self._now:
            try:
                self._now.write(line)
            except OSError:  # a full disk: the next write reports it
                self._now = None
        return digest

    def _computed(self, path: str, size: int, shown: bool) -> str:
        content = hashlib.md5(usedforsecurity=False)
        with (self._root / path).open("rb") as stream:
            blocks = iter(lambda: stream.read(_BLOCK), b"")
            for block in track(blocks, "watching", size / _BLOCK, unit="MiB") if shown else blocks:
                content.update(block)
        return content.hexdigest()

    def keep(self, file: Path) -> None:
        """Replaces the lines of the last run, unless they are the same or could not be written."""
        same = not self.changed and not self._earlier.skipped and self._earlier.at_end
        if self._now and not same and (self._now.tell() or file.exists()):
            with contextlib.suppress(OSError), files.atomic_file(file) as temporary, temporary.open("wb") as stream:
                self._now.seek(0)
                shutil.copyfileobj(self._now, stream)


@contextlib.contextmanager
def known_digests(root: Path, file: Path | None, in_order: bool) -> Iterator[KnownDigests]:
    """Yields the known digests of files below a folder, and keeps the updated ones at the end.

    Args:
        root: The folder.
        file: The file that keeps them; None to keep nothing.
        in_order: Whether the files will be requested in ascending order of path.
    """
    if file is None:
        yield KnownDigests(root, EarlierLook(iter(()), in_order))
        return
    with contextlib.ExitStack() as stack:
        earlier: Iterator[bytes] = iter(())
        now = None
        with contextlib.suppress(OSError):  # the file does not exist
            earlier = stack.enter_context(file.open("rb"))
        with contextlib.suppress(OSError):  # a full or read-only disk: nothing is kept
            file.parent.mkdir(parents=True, exist_ok=True)
            now = tempfile.TemporaryFile(dir=file.parent)  # noqa: SIM115 - closed below: the disk may be full
        try:
            known = KnownDigests(root, EarlierLook(earlier, in_order), now)
            yield known
            known.keep(file)
        finally:
            if now:
                with contextlib.suppress(OSError):
                    now.close()
