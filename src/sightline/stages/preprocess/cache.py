"""The cache of pixels: a folder of shards by what they were made from, outside DVC's outputs.

An entry is a folder that appears whole, by a rename: the pixels, and their summary. Its pixels are hard-linked
into the processed set, where the file system has links, so that they take no room of their own. Nothing is ever
written in place.
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
    """One entry, for show. `bytes` is its size, `used` when a run last needed it (seconds since the epoch)."""

    key: str
    bytes: int
    used: float


class PixelCache:
    """A cache.

    Args:
        root: Its folder; made where there is none.
        limit: In bytes, to which a run prunes it when it ends; with 0 nothing is looked up or kept.
    """

    def __init__(self, root: Path = FOLDER, limit: int | None = None) -> None:
        self.root = root
        self.limit = limit

    def fetch(self, key: str, to: Path) -> ShardSummary | None:
        """Makes an entry's pixels appear in the folder `to`, under the name of their content.

        Returns:
            Its summary; None where there is no entry, or a damaged one.
        """
        summary = self.find(key)
        if summary and summary.pixels.shape[0] and not self.link(key, to / summary.pixels.name):
            return None
        return summary

    def find(self, key: str, use: bool = True) -> ShardSummary | None:
        """Returns an entry's summary; None where there is none, or one that is damaged, which is removed.

        Args:
            key: The entry's.
            use: Whether this is a use of the entry, which keeps it from being pruned soon.
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
            # As DVC does: a file with the size and the time it was written with is the file that was written.
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
        """Notes that an entry is used now."""
        with contextlib.suppress(OSError):  # another run has removed it, or it is another user's
            os.utime(self.root / key)

    def store(self, key: str, pixels: Path, summary: ShardSummary) -> None:
        """Makes an entry of a file of pixels, which it shares with the file system's help, and its summary."""
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
        """Makes an entry's pixels appear at `to`, as a hard link or else a copy; returns whether they are there.

        They are not where another run has removed the entry.
        """
        try:
            _link(self.pixels(key), to)
        except FileExistsError:  # two shards with the same pixels
            return True
        except FileNotFoundError:
            return False
        return True

    def pixels(self, key: str) -> Path:
        """Returns where an entry's pixels are."""
        return self.root / key / PIXELS

    def names(self) -> list[str]:
        """Returns the keys of all entries, in no order."""
        return os.listdir(self.root) if self.limit != 0 and self.root.is_dir() else []  # noqa: PTH208 (no object for each of thousands)

    def entries(self) -> list[CacheEntry]:
        """Returns all entries, those used last first."""
        return self._entries(self.names())

    def last_used_first(self, keys: Iterable[str]) -> list[str]:
        """Returns those of the keys that have an entry, those used last first."""
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


def _link(source: Path, to: Path) -> None:
    """Makes a file appear at `to`, as a hard link or else a copy; FileExistsError where one is there."""
    try:
        os.link(source, to)
    except (FileExistsError, FileNotFoundError):
        raise
    except OSError:
        shutil.copyfile(source, to)
