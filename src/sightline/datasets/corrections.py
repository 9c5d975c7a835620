"""Corrections of labels by people: rows of a text file, keyed by an image's content, laid over whatever a source says.

Rows are appended and never changed, and a later one wins, so the file is also the history of who decided what. It is
plain CSV, one line a row, so that git keeps it and shows what has changed.
"""

from __future__ import annotations

import csv
import errno
import fcntl
import io
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass, fields
from enum import StrEnum
from pathlib import Path

from sightline.core import files
from sightline.core.csv_rows import row_writer
from sightline.core.errors import UserError
from sightline.core.text import composed

_DIGEST = re.compile(r"[0-9a-f]{64}")
_CONFLICT = re.compile(r"(<{7}|>{7}|\|{7}) |={7}$")
"""The lines that git puts around the two versions of a conflict."""
_SPECIAL = re.compile(r"[\r\n]|\\(?=[\\nr\r\n])")
_ESCAPED = re.compile(r"\\([\\nr])")
_ESCAPE_OF = {"\\": "\\\\", "\n": "\\n", "\r": "\\r"}
_MEANING_OF = {"\\": "\\", "n": "\n", "r": "\r"}


class ReviewDecision(StrEnum):
    """A person's decision on an image. The values are what stands in the file."""

    LABEL = "label"  # `new`, a class that the source has
    NEW_CLASS = "new-class"  # `new`, which other rows may then name as well
    ACCEPT = "accept"  # the label is right
    NONE = "none"  # the picture shows none of the classes: it is left out
    REMOVE = "remove"  # the picture is of no use: it is left out
    UNDO = "undo"  # the last decision on the image is taken back; the one before it, if any, holds again


_LABELS = (ReviewDecision.LABEL, ReviewDecision.NEW_CLASS)
_OUT = (ReviewDecision.NONE, ReviewDecision.REMOVE)


@dataclass(frozen=True, slots=True)
class Correction:
    """A row of the file.

    Attributes:
        sha256: Of the image's encoded bytes: every copy of it is meant, under whatever id.
        decision: The decision.
        old: The label that the person saw; empty where there was none.
        new: The label from then on; empty where the image is left out.
        reason: The reason that it was looked at for, or the words of the person.
        when: UTC, as 2026-11-27T21:30:00Z.
        who: Name of the person.
    """

    sha256: str
    decision: ReviewDecision
    old: str = ""
    new: str = ""
    reason: str = ""
    when: str = ""
    who: str = ""

    @property
    def changes(self) -> bool:
        """Whether the set may be another for it."""
        return self.decision in (*_LABELS, *_OUT)

    @property
    def removes(self) -> bool:
        """Whether the image is left out for it."""
        return self.decision in _OUT


HEADER = tuple(field.name for field in fields(Correction))
FileState = tuple[int, int]
"""A file's size in bytes, and when it was last written, in nanoseconds."""


class _CutShortError(ValueError):
    """A line that ends before its last cell, as a killed writer leaves it."""


class CorrectionFile:
    """The file, appended to by whoever reviews and read by ingestion.

    Args:
        path: Need not be there: then there is no correction.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def rows(self) -> list[Correction]:
        """Returns all rows, oldest first.

        Raises:
            UserError: If a row is none; it is named by its line.
        """
        return [row for row, _ in self._numbered()]

    def current(self) -> dict[str, Correction]:
        """Returns what holds for each image, by digest.

        Raises:
            UserError: If a row is none.
        """
        return current(self.rows())

    def lines(self) -> dict[str, int]:
        """Returns the line of each image's last row, by digest."""
        return {row.sha256: number for row, number in self._numbered()}

    def state(self) -> FileState:
        """Returns size and time of the file, which change with every row; zeros where there is none."""
        try:
            return _state(self.path.stat())
        except FileNotFoundError:
            return 0, 0

    def append(self, rows: Iterable[Correction]) -> tuple[FileState, FileState]:
        """Adds rows; when it returns they are on disk.

        All of them are one write, and writers wait for each other. A row that a killed writer left half written goes:
        nobody was told that it was kept.

        Returns:
            The file's state before and after.

        Raises:
            OSError: If they cannot be written; then none of them is there.
        """
        added = list(rows)
        if not added:
            return self.state(), self.state()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = not self.path.exists()
        descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            before = _state(os.fstat(descriptor))
            size = _cut_torn(descriptor)
            stream = io.StringIO(newline="")
            write = row_writer(stream)
            if not size:
                write(HEADER)
            for row in added:
                write([_line(str(cell)) for cell in astuple(row)])
            data = stream.getvalue().encode()
            try:
                if os.write(descriptor, data) != len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(descriptor)
                after = _state(os.fstat(descriptor))
            except OSError:
                os.ftruncate(descriptor, size)
                raise
        finally:
            os.close(descriptor)
        if new:
            files.fsync_path(self.path.parent)
        return before if not new else (0, 0), after

    def _numbered(self) -> Iterator[tuple[Correction, int]]:
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            whole = data.rfind(b"\n") + 1
            if error.start >= whole > 0 and error.reason == "unexpected end of data":
                text = data[:whole].decode("utf-8-sig")  # the last character was cut short, so the row was as well
            else:
                raise UserError(
                    f"{self.path}: not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8"
                ) from None
        torn = not text.endswith("\n")
        lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
        for number, line in enumerate(lines, 1):
            # A spreadsheet may leave rows of empty cells, or quote the header.
            if not line.strip(' ,"\t') or (number == 1 and line.replace('"', "") == ",".join(HEADER)):
                continue
            if _CONFLICT.match(line):
                raise UserError(
                    f"{self.path}, line {number}: a merge conflict of git; remove the lines that begin with <<<<<<<, "
                    "======= and >>>>>>>, and keep the rows of both sides"
                )
            try:
                yield _parsed(line), number
            except _CutShortError as error:
                if torn and number == len(lines):
                    return  # of a writer that was killed, or still writes
                raise UserError(f"{self.path}, line {number}: {error}; fix the line or remove it") from None
            except ValueError as error:
                raise UserError(f"{self.path}, line {number}: {error}; fix the line or remove it") from None


def _state(stat: os.stat_result) -> FileState:
    return stat.st_size, stat.st_mtime_ns


def _cut_torn(descriptor: int) -> int:
    """Ends the file with a whole line, and returns its size."""
    size = os.fstat(descriptor).st_size
    if not size or os.pread(descriptor, 1, size - 1) == b"\n":
        return size
    content = os.pread(descriptor, size, 0)
    start = content.rfind(b"\n") + 1
    try:
        if start:
            _parsed(content[start:].decode())
    except (_CutShortError, UnicodeDecodeError):
        os.ftruncate(descriptor, start)
        return start
    except ValueError:
        pass  # written by hand, and wrong: whoever reads the file is told
    os.write(descriptor, b"\n")  # whole, as an editor may leave it
    return size + 1


def _line(cell: str) -> str:
    r"""Returns a cell without ends of lines, which become `\n` and `\r`: a row is one line of the file."""
    return _SPECIAL.sub(lambda found: _ESCAPE_OF[found.group()], cell)


def _cell(text: str) -> str:
    """Returns the cell that `_line` wrote."""
    return _ESCAPED.sub(lambda found: _MEANING_OF[found.group(1)], text)


def _parsed(line: str) -> Correction:
    try:
        cells = next(csv.reader([line], strict=True), [])
    except csv.Error as error:  # a quotation mark is not closed
        raise _CutShortError(str(error)) from None
    if len(cells) != len(HEADER):
        for mark, name in ((";", "semicolons"), ("\t", "tabs")):
            if line.count(mark) >= len(HEADER) - 1 > line.count(","):
                raise ValueError(f"its cells are separated by {name}; save the file with commas, as it was")
        problem = f"{len(cells)} cells, but {len(HEADER)} are needed ({','.join(HEADER)})"
        raise _CutShortError(problem) if len(cells) < len(HEADER) else ValueError(problem)
    digest, word, old, new, *rest = map(_cell, cells)
    digest = digest.lower()  # as some tools write it
    if not _DIGEST.fullmatch(digest):
        raise ValueError(f"{digest!r} is not the SHA-256 of an image (64 hexadecimal digits)")
    try:
        decision = ReviewDecision(word)
    except ValueError:
        raise ValueError(f"{word!r} is not one of {', '.join(ReviewDecision)}") from None
    new = composed(new)
    if decision in _LABELS and not new:
        raise ValueError(f"{decision} names no class in the column new")
    return Correction(digest, decision, composed(old), new, *rest)


def standing(rows: Iterable[Correction]) -> list[Correction]:
    """Returns the decisions that have not been taken back, oldest first."""
    kept: dict[str, list[tuple[int, Correction]]] = {}
    for number, row in enumerate(rows):
        of_image = kept.setdefault(row.sha256, [])
        if row.decision is not ReviewDecision.UNDO:
            of_image.append((number, row))
        elif of_image:
            of_image.pop()
    return [row for _, row in sorted((pair for pairs in kept.values() for pair in pairs), key=lambda pair: pair[0])]


def new_classes(rows: Iterable[Correction]) -> set[str]:
    """Returns the classes that rows have named and no row has taken back."""
    return {row.new for row in standing(rows) if row.decision is ReviewDecision.NEW_CLASS}


def current(rows: Iterable[Correction]) -> dict[str, Correction]:
    """Returns what holds for each image after these rows: the last one; accepting a corrected label keeps it."""
    held: dict[str, Correction] = {}
    for row in standing(rows):
        if row.decision is not ReviewDecision.ACCEPT or row.sha256 not in held or held[row.sha256].removes:
            held[row.sha256] = row
    return held


def digest_of_changes(held: dict[str, Correction]) -> str | None:
    """Returns a digest of what changes a set, whoever decided it and when; None where nothing does."""
    lines = sorted(f"{row.sha256} {row.removes} {row.new}\n" for row in held.values() if row.changes)
    return files.sha256("".join(lines).encode()) if lines else None
