"""Digests of files that have not changed since the last look, kept in a file with a line for each.

The lines are in the order of the look. Where the next look comes by the files in the same order, it reads them as it
goes: memory holds one line, however many files there are.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from sightline.core import files
from sightline.core.progress import track

_BLOCK = 2**20
_SETTLED = 2 * 10**9
"""Nanoseconds after which a file that has changed again has another time, on any file system."""


class Entry(NamedTuple):
    """A file, as a look found it. Attributes: relative path; size, times and inode; MD5; the line of all this."""

    path: str
    state: list[int]
    digest: str
    line: bytes


class EarlierLook:
    """The files of the last look, as they were.

    Args:
        lines: Of each file a JSON array: relative path, size, times and inode, digest.
        in_order: Whether paths are asked for in ascending order, which the lines have: then none needs to be kept.

    Attributes:
        skipped: Whether there was a file that was not asked for in its turn.
    """

    def __init__(self, lines: Iterator[bytes], in_order: bool) -> None:
        self.skipped = False
        self._in_order = in_order
        self._entries = self._read(lines)
        self._next = next(self._entries, None)
        self._passed: dict[str, Entry] = {}

    def entry_of(self, path: str) -> Entry | None:
        """Returns the entry of a path, which is asked for once; None where the last look did not see it."""
        if path in self._passed:
            return self._passed.pop(path)
        while self._next and (self._next.path < path if self._in_order else self._next.path != path):
            if not self._in_order:
                self._passed[self._next.path] = self._next
            self.skipped = True
            self._next = next(self._entries, None)
        if self._next is None or self._next.path != path:
            return None
        entry, self._next = self._next, next(self._entries, None)
        return entry

    @property
    def at_end(self) -> bool:
        """Whether there is no further file."""
        return self._next is None

    @staticmethod
    def _read(lines: Iterator[bytes]) -> Iterator[Entry]:
        for line in lines:
            with contextlib.suppress(ValueError, LookupError, TypeError):  # cut short, or not ours
                path, *state, digest = json.loads(line)
                if isinstance(path, str) and isinstance(digest, str):
                    yield Entry(path, state, digest, line)


class KnownDigests:
    """Digests of the files below a folder, of those that have not changed taken from before.

    Args:
        root: The folder.
        earlier: The last look.
        now: The file for the lines of this one; None for none.

    Attributes:
        changed: Whether a file is not what it was.
    """

    def __init__(self, root: Path, earlier: EarlierLook, now: IO[bytes] | None = None) -> None:
        self.changed = False
        self._root = root
        self._earlier = earlier
        self._now = now

    def md5(self, path: str, size: int, stamp: Sequence[int], shown: bool = False) -> str:
        """Returns the MD5 of the file at a relative path; OSError if it cannot be read.

        Args:
            path: Relative to the root.
            size: In bytes.
            stamp: The values that change with its content: see `tree.stamp`.
            shown: Whether progress is shown.
        """
        entry, state = self._earlier.entry_of(path), [size, *stamp]
        if entry is None or entry.state != state:
            self.changed = True
            digest = self._computed(path, size, shown)
            if time.time_ns() - max(stamp[:2]) < _SETTLED:
                return digest  # it may change once more within the same tick of the clock
            entry = Entry(path, state, digest, json.dumps([path, *state, digest]).encode() + b"\n")
        if self._now:
            try:
                self._now.write(entry.line)
            except OSError:  # a full disk: what is written next says so
                self._now = None
        return entry.digest

    def _computed(self, path: str, size: int, shown: bool) -> str:
        content = hashlib.md5(usedforsecurity=False)
        with (self._root / path).open("rb") as stream:
            blocks = iter(lambda: stream.read(_BLOCK), b"")
            for block in track(blocks, "watching", size / _BLOCK, unit="MiB") if shown else blocks:
                content.update(block)
        return content.hexdigest()

    def keep(self, file: Path) -> None:
        """Replaces the lines of the last look, unless they are the same, or could not be written."""
        same = not self.changed and not self._earlier.skipped and self._earlier.at_end
        if self._now and not same and (self._now.tell() or file.exists()):
            with contextlib.suppress(OSError), files.atomic_file(file) as temporary, temporary.open("wb") as stream:
                self._now.seek(0)
                shutil.copyfileobj(self._now, stream)


@contextlib.contextmanager
def known_digests(root: Path, file: Path | None, in_order: bool) -> Iterator[KnownDigests]:
    """Yields what is known of the files below a folder, and keeps what is then.

    Args:
        root: The folder.
        file: The file of all that; None keeps nothing.
        in_order: Whether the files are asked for in ascending order of path.
    """
    if file is None:
        yield KnownDigests(root, EarlierLook(iter(()), in_order))
        return
    with contextlib.ExitStack() as stack:
        earlier: Iterator[bytes] = iter(())
        now = None
        with contextlib.suppress(OSError):  # there is none
            earlier = stack.enter_context(file.open("rb"))
        with contextlib.suppress(OSError):  # a full disk, or one that must not be written: nothing is kept
            file.parent.mkdir(parents=True, exist_ok=True)
            now = tempfile.TemporaryFile(dir=file.parent)  # noqa: SIM115 - closed below: it may have no room to
        try:
            known = KnownDigests(root, EarlierLook(earlier, in_order), now)
            yield known
            known.keep(file)
        finally:
            if now:
                with contextlib.suppress(OSError):
                    now.close()
