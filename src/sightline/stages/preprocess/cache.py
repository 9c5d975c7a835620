"""The cache of pixels: a folder of shards, keyed by what they were made from, outside DVC's outputs.

An entry is a folder with the pixels and their summary, created atomically by a rename. If the file system supports
hard links, its pixels are linked into the processed set and take no additional space. Files are never modified in
place.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sightline.core import files
from sightline.datasets import pixel_shard
from sightline.stages.preprocess.tasks import ShardSummary

FOLDER = files.STATE / "memo" / "preprocess"
PIXELS = "pixels.npy"
SUMMARY = "summary"


@dataclass(frozen=True)
class CacheEntry:
    """One entry's size in `bytes`, and when a run last `used` it (seconds since the epoch)."""

    key: str
    bytes: int
    used: float


class PixelCache:
    """A cache.

    Args:
        root: Its folder; created when needed.
        limit: Size in bytes to which a run prunes it at the end; 0 disables lookups and storing.
    """

    def __init__(self, root: Path = FOLDER, limit: int | None = None) -> None:
        self.root = root
        self.limit = limit

    def fetch(self, key: str, to: Path) -> ShardSummary | None:
        """Links or copies an entry's pixels into the folder `to`, named by their content.

        Returns:
            Its summary; None if there is no entry, or it is damaged.
        """
        summary = self.find(key)
        if summary and summary.pixels.shape[0] and not self.link(key, to / summary.pixels.name):
            return None
        return summary

    def find(self, key: str, use: bool = True) -> ShardSummary | None:
        """Returns an entry's summary; None if there is no entry, or it is damaged and therefore removed.

        Args:
            key: The entry's key.
            use: Whether to mark the entry as used now, which delays its pruning.
        """
        if self.limit == 0:
            return None
        folder = self.root / key
        try:
            head, _, body = (folder / SUMMARY).read_bytes().partition(b"\n")
            digest, size, written = head.split()
            if hashlib.sha256(body).hexdigest() != digest.decode():
                raise ValueError("summary")
            summary = ShardSummary.from_bytes(body)
            stat = (folder / PIXELS).stat()
            # Like DVC, trust a file whose size and modification time are unchanged.
            as_written = (stat.st_size, stat.st_mtime_ns) == (int(size), int(written))
            if not as_written and pixel_shard.describe_shard(folder / PIXELS) != summary.pixels:
                raise ValueError("pixels")
        except (OSError, EOFError, ValueError, KeyError):
            shutil.rmtree(folder, ignore_errors=True)
            return None
        if use:
            self.use(key)
        return summary

    def use(self, key: str) -> None:
        """Marks an entry as used now."""
        with contextlib.suppress(OSError):  # another run has removed it, or it is another user's
            os.utime(self.root / key)

    def store(self, key: str, pixels: Path, summary: ShardSummary) -> None:
        """Stores a file of pixels, as a hard link if possible, and its summary as an entry."""
        if self.limit == 0:
            return
        self.root.mkdir(parents=True, exist_ok=True)
        with files.temporary_folder(f".{key}.", "", self.root) as folder:
            _link(pixels, folder / PIXELS)
            stat = (folder / PIXELS).stat()
            body = summary.to_bytes()
            head = f"{hashlib.sha256(body).hexdigest()} {stat.st_size} {stat.st_mtime_ns}\n"
            (folder / SUMMARY).write_bytes(head.encode() + body)
            try:
                folder.rename(self.root / key)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # another run was faster, with the same pixels
                    raise

    def link(self, key: str, to: Path) -> bool:
        """Links or copies an entry's pixels to `to`; returns False if another run has removed the entry."""
        try:
            _link(self.pixels(key), to)
        except FileExistsError:  # two shards with the same pixels
            return True
        except FileNotFoundError:
            return False
        return True

    def pixels(self, key: str) -> Path:
        """Returns the path of an entry's pixels."""
        return self.root / key / PIXELS

    def names(self) -> list[str]:
        """Returns the keys of all entries, in no order."""
        return os.listdir(self.root) if self.limit != 0 and self.root.is_dir() else []  # noqa: PTH208 (no object for each of thousands)

    def entries(self) -> list[CacheEntry]:
        """Returns all entries, the most recently used first."""
        return self._entries(self.names())

    def last_used_first(self, keys: Iterable[str]) -> list[str]:
        """Returns those of the keys that have an entry, the most recently used first."""
        return [entry.key for entry in self._entries(keys)]

    def _entries(self, keys: Iterable[str]) -> list[CacheEntry]:
        found = []
        for key in keys:
            folder = self.root / key
            try:
                size = sum(file.stat().st_size for file in folder.iterdir())
                found.append(CacheEntry(key, size, folder.stat().st_mtime))
            except OSError:  # another run has removed it
                continue
        return sorted(found, key=lambda entry: (-entry.used, entry.key))

    def prune(self, limit: int) -> tuple[int, int]:
        """Removes the least recently used entries until the rest has at most `limit` bytes.

        Unfinished entries of killed runs are removed too; those of running processes stay.

        Returns:
            Number of removed entries, and their size in bytes.
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


def _link(source: Path, to: Path) -> None:
    """Creates `to` as a hard link to a file, or else as a copy; raises FileExistsError if linking finds it there."""
    try:
        os.link(source, to)
    except (FileExistsError, FileNotFoundError):
        raise
    except OSError:
        shutil.copyfile(source, to)
