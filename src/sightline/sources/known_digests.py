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
from json.encoder import encode_basestring_ascii
from pathlib import Path
from typing import IO

from sightline.core import files
from sightline.core.progress import track

_BLOCK = 2**20
_END = b'"]\n'
"""The end of a line, after the digest."""
_SETTLED = 2 * 10**9
"""Nanoseconds after which a file that has changed again has another time, on any file system."""


def _line_start(path: str, size: int, stamp: Sequence[int]) -> bytes:
    """Returns the line of a file up to its digest: what `json.dumps` would write, in a third of its time."""
    return f'[{encode_basestring_ascii(path)}, {size}, {", ".join(map(str, stamp))}, "'.encode()


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
        self._lines = lines
        self._line = next(lines, b"")
        self._path: str | None = None  # of that line, once it is read
        self._passed: dict[str, bytes] = {}

    def line_of(self, path: str, start: bytes) -> bytes | None:
        """Returns the line of a path, which is asked for once; None where the last look did not see it.

        Args:
            path: Relative.
            start: The line up to its digest, if the file is as it was: so it is found without being taken apart.
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
        """Whether there is no further file."""
        return not self._line

    def _go_on(self) -> None:
        self._line, self._path = next(self._lines, b""), None

    def _next_path(self) -> str | None:
        """Returns the path of the next line; None where that was cut short, or is not ours."""
        if self._path is None:
            with contextlib.suppress(ValueError, LookupError, TypeError):
                path, *_, digest = json.loads(self._line)
                if isinstance(path, str) and isinstance(digest, str):
                    self._path = path
        return self._path


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
        start = _line_start(path, size, stamp)
        line = self._earlier.line_of(path, start)
        if line is not None and line.startswith(start):
            digest = line[len(start) : -len(_END)].decode()
        else:
            self.changed = True
            digest = self._computed(path, size, shown)
            if time.time_ns() - max(stamp[:2]) < _SETTLED:
                return digest  # it may change once more within the same tick of the clock
            line = start + digest.encode() + _END
        if self._now:
            try:
                self._now.write(line)
            except OSError:  # a full disk: what is written next says so
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
