"""What has been computed before: a folder of shards by what they were made from, outside DVC's outputs.

An entry is a folder that appears whole, by a rename: the pixels, and the facts about them. Its pixels are hard-linked
into the processed set, where the file system has links, so that they take no room of their own. Nothing is ever
written in place.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from sightline.core import files
from sightline.stages.preprocess import npy_writer
from sightline.stages.preprocess.tasks import ShardSummary

FOLDER = files.STATE / "memo" / "preprocess"
PIXELS = "pixels.npy"
FACTS = "facts"


@dataclass(frozen=True)
class Entry:
    """One entry, for show. `bytes` is its size, `used` when a run last needed it (seconds since the epoch)."""

    key: str
    bytes: int
    used: float


class PixelCache:
    """The folder.

    Args:
        root: Where; made where there is none.
    """

    def __init__(self, root: Path = FOLDER) -> None:
        self.root = root

    def find(self, key: str, use: bool = True) -> ShardSummary | None:
        """Returns an entry's facts; None where there is none, or one that is damaged, which is removed.

        Args:
            key: The entry's.
            use: Whether this is a use of the entry, which keeps it from being pruned soon.
        """
        folder = self.root / key
        try:
            head, _, body = (folder / FACTS).read_bytes().partition(b"\n")
            digest, size, written = head.split()
            if hashlib.sha256(body).hexdigest() != digest.decode():
                raise ValueError("facts")
            facts = ShardSummary.from_bytes(body)
            stat = (folder / PIXELS).stat()
            # As DVC does: a file with the size and the time it was written with is the file that was written.
            as_written = (stat.st_size, stat.st_mtime_ns) == (int(size), int(written))
            if not as_written and npy_writer.read(folder / PIXELS) != facts.pixels:
                raise ValueError("pixels")
        except (OSError, EOFError, ValueError, KeyError):
            shutil.rmtree(folder, ignore_errors=True)
            return None
        if use:
            self.use(key)
        return facts

    def use(self, key: str) -> None:
        """Notes that an entry is used now."""
        with contextlib.suppress(OSError):  # another run has removed it, or it is another user's
            os.utime(self.root / key)

    def add(self, key: str, make: Callable[[Path], ShardSummary]) -> None:
        """Makes an entry: `make` writes its pixels to the path that it is given."""
        self.root.mkdir(parents=True, exist_ok=True)
        with files.temporary_folder(f".{key}.", "", self.root) as folder:
            facts = make(folder / PIXELS)
            stat = (folder / PIXELS).stat()
            body = facts.to_bytes()
            head = f"{hashlib.sha256(body).hexdigest()} {stat.st_size} {stat.st_mtime_ns}\n"
            (folder / FACTS).write_bytes(head.encode() + body)
            try:
                folder.rename(self.root / key)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # another run was faster, with the same pixels
                    raise

    def link(self, key: str, to: Path) -> bool:
        """Makes an entry's pixels appear at `to`, as a hard link or else a copy; returns whether they are there.

        They are not where another run has removed the entry.
        """
        try:
            os.link(self.pixels(key), to)
        except FileExistsError:  # two shards with the same pixels
            return True
        except OSError:
            try:
                shutil.copyfile(self.pixels(key), to)
            except FileNotFoundError:
                return False
        return True

    def pixels(self, key: str) -> Path:
        """Returns where an entry's pixels are."""
        return self.root / key / PIXELS

    def names(self) -> list[str]:
        """Returns the keys of all entries, in no order."""
        return os.listdir(self.root) if self.root.is_dir() else []  # noqa: PTH208 (no object for each of thousands)

    def entries(self) -> list[Entry]:
        """Returns all entries, those used last first."""
        return self._entries(self.names())

    def last_used_first(self, keys: Iterable[str]) -> list[str]:
        """Returns those of the keys that have an entry, those used last first."""
        return [entry.key for entry in self._entries(keys)]

    def _entries(self, keys: Iterable[str]) -> list[Entry]:
        found = []
        for key in keys:
            folder = self.root / key
            try:
                size = sum(file.stat().st_size for file in folder.iterdir())
                found.append(Entry(key, size, folder.stat().st_mtime))
            except OSError:  # another run has removed it
                continue
        return sorted(found, key=lambda entry: (-entry.used, entry.key))

    def prune(self, limit: int) -> tuple[int, int]:
        """Removes the entries used longest ago until the rest has at most `limit` bytes.

        What a killed run left half made is removed first, what a living one is making stays.

        Returns:
            How many were removed, and their bytes.
        """
        held = removed = freed = 0
        for entry in self.entries():
            if entry.key.startswith("."):
                if files.remove_abandoned(self.root / entry.key):
                    removed += 1
                    freed += entry.bytes
                continue
            held += entry.bytes
            if held > limit:
                shutil.rmtree(self.root / entry.key, ignore_errors=True)
                removed += 1
                freed += entry.bytes
        return removed, freed
