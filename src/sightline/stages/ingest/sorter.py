"""A sorter of images by id in constant memory, which finds ids that come twice."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType

from sightline.core.rejection import RejectionReason
from sightline.datasets.raw_set import ImageRecord, RawImage, Rejection
from sightline.stages.ingest.check_result import CheckedImage

_COLUMNS = (
    "id", "label", "split", "group", "path", "sha256", "format", "width", "height", "mode", "bits",
    "flags", "phash",
)  # fmt: skip
_NAMES = ", ".join(f'"{name}"' for name in _COLUMNS)
_TABLES = f"""
CREATE TABLE image ({_NAMES}, PRIMARY KEY (id));
CREATE TABLE content (data);
CREATE TABLE claim (id, sha256, label);
CREATE TABLE rejection (id, reason, detail);
CREATE TABLE near (id, near_group);
"""
_PLACES = f"({', '.join('?' * len(_COLUMNS))})"


class ImageSorter:
    """A temporary SQLite file: what goes in in any order comes out sorted by id (UTF-8 bytes, thus code points).

    Of two images with one id one is kept, and the other a claim, which `resolve_conflicts` rejects. The file is
    removed when the block ends.

    Attributes:
        db: The connection, for questions about the set: tables `image` (what is known of each, without its bytes),
            `claim`, `rejection`, and `near`, which `link` fills.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> ImageSorter:
        self.db = sqlite3.connect(self._path, isolation_level=None)
        # Nothing here outlives the process, so nothing needs to survive a crash.
        self.db.executescript(
            "PRAGMA page_size=32768; PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-32768;"
        )
        self.db.executescript(_TABLES)
        self.db.execute("BEGIN")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.db.close()
        self._path.unlink()

    def add(self, record: ImageRecord, label: str, split: str | None, checked: CheckedImage) -> None:
        """Takes an image; of two with the same id one: by what they are, not by which came first."""
        row_values = (
            record.id, label, split, record.group, record.path, checked.sha256, checked.format, checked.width,
            checked.height, checked.mode, checked.bits, " ".join(checked.flags), checked.phash,
        )  # fmt: skip
        if self.db.execute(f"INSERT OR IGNORE INTO image VALUES {_PLACES}", row_values).rowcount:  # noqa: S608 - constants
            self.db.execute("INSERT INTO content (rowid, data) VALUES (last_insert_rowid(), ?)", (record.data,))
            return
        query = "SELECT rowid, sha256, label, split FROM image WHERE id = ?"
        row, *other = self.db.execute(query, [record.id]).fetchone()
        sha256, its_label, _ = other
        if _rank(checked.sha256, label, split) < _rank(*other):
            self.db.execute(f"REPLACE INTO image (rowid, {_NAMES}) VALUES (?, {_PLACES[1:]}", (row, *row_values))  # noqa: S608
            self.db.execute("UPDATE content SET data = ? WHERE rowid = ?", (record.data, row))
        else:
            sha256, its_label = checked.sha256, label
        self.db.execute("INSERT INTO claim VALUES (?, ?, ?)", (record.id, sha256, its_label))

    def reject(self, rejection: Rejection) -> None:
        """Takes a rejection."""
        row = (rejection.id, str(rejection.reason), rejection.detail)
        self.db.execute("INSERT INTO rejection VALUES (?, ?, ?)", row)

    def images(self) -> Iterator[RawImage]:
        """Yields the images sorted by id."""
        for row in self.db.execute(
            'SELECT id, data, label, split, "group", path, sha256, format, width, height '
            "FROM image CROSS JOIN content ON content.rowid = image.rowid ORDER BY id COLLATE BINARY"
        ):
            yield RawImage(*row)

    def rejections(self) -> Iterator[Rejection]:
        """Yields the rejections sorted by id."""
        for identity, reason, detail in self.db.execute("SELECT * FROM rejection ORDER BY id, reason, detail"):
            yield Rejection(identity, RejectionReason(reason), detail)

    def link(self, groups: Iterable[Sequence[str]]) -> None:
        """Takes groups of near duplicates: sorted ids, one of each content."""
        rows = ((identity, group[0]) for group in groups for identity in group)
        self.db.executemany("INSERT INTO near VALUES (?, ?)", rows)

    def near(self) -> Iterator[tuple[str, str]]:
        """Yields (id, smallest id of its group of near duplicates), sorted, of the images that have any."""
        yield from self.db.execute("SELECT * FROM near ORDER BY id")

    def count(self, query: str) -> dict[str, int]:
        """Returns the answer to a query for names and numbers, sorted by name."""
        return {str(name): int(number) for name, number in sorted(self.db.execute(query))}


def _rank(sha256: str, label: str, split: str | None) -> tuple[str, str, str]:
    return sha256, label, split or ""
