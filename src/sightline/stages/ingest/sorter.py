"""A sorter of images by id in constant memory, which detects duplicate ids."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from sightline.core.rejection import RejectionReason
from sightline.datasets.raw_set import ImageRecord, RawImage, Rejection
from sightline.stages.ingest.check_result import CheckedImage

_COLUMNS = (
    "id", "label", "split", "group", "path", "sha256", "format", "width", "height", "mode", "bits",
    "flags", "phash", "start", "size",
)  # fmt: skip
_NAMES = ", ".join(f'"{name}"' for name in _COLUMNS)
_TABLES = f"""
CREATE TABLE image ({_NAMES}, PRIMARY KEY (id));
CREATE TABLE claim (id, sha256, label);
CREATE TABLE rejection (id, reason, detail);
CREATE TABLE near (id, near_group);
"""
_INSERT = f"INTO image (rowid, {_NAMES}) VALUES (?{', ?' * len(_COLUMNS)})"
_BATCH = 256  # images inserted into the table in one call


class ImageSorter:
    """A temporary SQLite file: images are added in any order and read sorted by id (UTF-8 bytes, that is, code points).

    Of two images with the same id, one is kept and the other becomes a claim, which `resolve_conflicts` rejects. The
    images' bytes are in a second file, in order of arrival. Both files are removed when the `with` block ends.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._content_path = path.with_name(f"{path.name}-content")
        self._pending: list[tuple[Any, ...]] = []
        self._rows = self._end = 0

    def __enter__(self) -> ImageSorter:
        self._db = sqlite3.connect(self._path, isolation_level=None)
        # The files do not outlive the process, so they need not survive a crash.
        self._db.executescript(
            "PRAGMA page_size=32768; PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-32768;"
        )
        self._db.executescript(_TABLES)
        self._db.execute("BEGIN")
        self._content = self._content_path.open("w+b", buffering=2**20)
        return self

    @property
    def db(self) -> sqlite3.Connection:
        """The connection, for queries about everything added so far.

        Tables: `image` (an image's properties, and the position of its bytes in the second file), `claim`, `rejection`,
        and `near`, which `link` fills.
        """
        if self._pending:
            self._insert_pending()
        return self._db

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()
        self._path.unlink()
        with contextlib.suppress(OSError):  # of a full disk: the unwritten rest is no longer needed
            self._content.close()
        self._content_path.unlink()

    def add(self, record: ImageRecord, label: str, split: str | None, checked: CheckedImage) -> None:
        """Adds an image. Which of two images with the same id is kept depends on their content, not on their order."""
        size = self._content.write(record.data)
        self._rows += 1
        self._pending.append((
            self._rows, record.id, label, split, record.group, record.path, checked.sha256, checked.format,
            checked.width, checked.height, checked.mode, checked.bits, " ".join(checked.flags), checked.phash,
            self._end, size,
        ))  # fmt: skip
        self._end += size
        if len(self._pending) == _BATCH:
            self._insert_pending()

    def _insert_pending(self) -> None:
        rows, self._pending = self._pending, []
        if self._db.executemany(f"INSERT OR IGNORE {_INSERT}", rows).rowcount == len(rows):
            return
        query = "SELECT rowid FROM image WHERE rowid BETWEEN ? AND ?"
        taken = {row for (row,) in self._db.execute(query, [rows[0][0], rows[-1][0]])}
        for values in rows:
            if values[0] not in taken:
                self._claim(values)

    def _claim(self, values: tuple[Any, ...]) -> None:
        """Adds an image whose id is already taken."""
        _, identity, label, split, _, _, sha256, *_ = values
        query = "SELECT rowid, sha256, label, split FROM image WHERE id = ?"
        row, *other = self._db.execute(query, [identity]).fetchone()
        if _rank(sha256, label, split) < _rank(*other):
            self._db.execute(f"REPLACE {_INSERT}", (row, *values[1:]))
            sha256, label, _ = other
        self._db.execute("INSERT INTO claim VALUES (?, ?, ?)", (identity, sha256, label))

    def reject(self, rejection: Rejection) -> None:
        """Adds a rejection."""
        row = (rejection.id, str(rejection.reason), rejection.detail)
        self._db.execute("INSERT INTO rejection VALUES (?, ?, ?)", row)

    def images(self) -> Iterator[RawImage]:
        """Yields the images sorted by id."""
        self._content.flush()
        file = self._content.fileno()
        for start, size, identity, *rest in self.db.execute(
            'SELECT start, size, id, label, split, "group", path, sha256, format, width, height '
            "FROM image ORDER BY id COLLATE BINARY"
        ):
            yield RawImage(identity, os.pread(file, size, start), *rest)

    def rejections(self) -> Iterator[Rejection]:
        """Yields the rejections sorted by id."""
        for identity, reason, detail in self.db.execute("SELECT * FROM rejection ORDER BY id, reason, detail"):
            yield Rejection(identity, RejectionReason(reason), detail)

    def link(self, groups: Iterable[Sequence[str]]) -> None:
        """Stores groups of near duplicates: sorted ids, one per distinct content."""
        rows = ((identity, group[0]) for group in groups for identity in group)
        self.db.executemany("INSERT INTO near VALUES (?, ?)", rows)

    def near(self) -> Iterator[tuple[str, str]]:
        """Yields (id, smallest id of its group), sorted, for the images that have near duplicates."""
        yield from self.db.execute("SELECT * FROM near ORDER BY id")

    def count(self, query: str) -> dict[str, int]:
        """Returns the result of a query for names and numbers, sorted by name."""
        return {str(name): int(number) for name, number in sorted(self.db.execute(query))}


def _rank(sha256: str, label: str, split: str | None) -> tuple[str, str, str]:
    return sha256, label, split or ""
