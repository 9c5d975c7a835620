"""Corrections of labels by people: rows of a text file, keyed by an image's content, that override any source.

Rows are appended and never changed, and a later one wins, so the file is also a history of who decided what. It is
plain CSV, one line per row, so that git can store it and show changes.
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
    """A person's decision on an image. The values are those in the file."""

    LABEL = "label"  # `new`, a class that the source has
    NEW_CLASS = "new-class"  # `new`, which other rows may then name as well
    ACCEPT = "accept"  # the label is right
    NONE = "none"  # the image shows none of the classes: it is left out
    REMOVE = "remove"  # the image is unusable: it is left out
    UNDO = "undo"  # takes back the last decision on the image; the one before it, if any, applies again


_LABELS = (ReviewDecision.LABEL, ReviewDecision.NEW_CLASS)
_OUT = (ReviewDecision.NONE, ReviewDecision.REMOVE)


@dataclass(frozen=True, slots=True)
class Correction:
    """A row of the file.

    Attributes:
        sha256: SHA-256 of the image's encoded bytes: the decision applies to every copy of it, under any id.
        decision: The decision.
        old: The label that the person saw; empty if there was none.
        new: The label from then on; empty if the image is left out.
        reason: The reason for reviewing the image, or the person's comment.
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
        """Whether the decision may change the set."""
        return self.decision in (*_LABELS, *_OUT)

    @property
    def removes(self) -> bool:
        """Whether the image is left out because of it."""
        return self.decision in _OUT


HEADER = tuple(field.name for field in fields(Correction))
FileState = tuple[int, int]
"""A file's size in bytes, and when it was last written, in nanoseconds."""


class _CutShortError(ValueError):
    """A line that ends before its last cell, as a killed writer leaves it."""


class CorrectionFile:
    """The file of corrections: reviews append to it, and ingestion reads it.

    Args:
        path: The file; if it does not exist, there are no corrections.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def rows(self) -> list[Correction]:
        """Returns all rows, oldest first.

        Raises:
            UserError: If a row is invalid; the message names its line.
        """
        return [row for row, _ in self._numbered()]

    def current(self) -> dict[str, Correction]:
        """Returns the correction that applies to each image, by digest.

        Raises:
            UserError: If a row is invalid.
        """
        return current(self.rows())

    def lines(self) -> dict[str, int]:
        """Returns the line number of each image's last row, by digest."""
        return {row.sha256: number for row, number in self._numbered()}

    def state(self) -> FileState:
        """Returns the size and mtime of the file, which change with every row; zeros if it does not exist."""
        try:
            return _state(self.path.stat())
        except FileNotFoundError:
            return 0, 0

    def append(self, rows: Iterable[Correction]) -> tuple[FileState, FileState]:
        """Appends rows; they are on disk when it returns.

        All of them go into a single write, and concurrent writers wait for each other. A partial row left by a killed
        writer is removed: its writer never reported it as saved.

        Returns:
            The file's state before and after.

        Raises:
            OSError: If they cannot be written; then none of them is in the file.
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
                    return  # left by a writer that was killed or is still writing
                raise UserError(f"{self.path}, line {number}: {error}; fix the line or remove it") from None
            except ValueError as error:
                raise UserError(f"{self.path}, line {number}: {error}; fix the line or remove it") from None


def _state(stat: os.stat_result) -> FileState:
    return stat.st_size, stat.st_mtime_ns


def _cut_torn(descriptor: int) -> int:
    """Makes the file end with a complete line, and returns its size."""
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
        pass  # an invalid row written by hand: reading the file reports it
    os.write(descriptor, b"\n")  # a complete row without its newline, as an editor may leave it
    return size + 1


def _line(cell: str) -> str:
    r"""Returns a cell with line breaks escaped as `\n` and `\r`: a row is one line of the file."""
    return _SPECIAL.sub(lambda found: _ESCAPE_OF[found.group()], cell)


def _cell(text: str) -> str:
    """Returns the original of a cell that `_line` has escaped."""
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
    """Returns the correction that applies to each image: the last one, but accepting a corrected label keeps it."""
    held: dict[str, Correction] = {}
    for row in standing(rows):
        if row.decision is not ReviewDecision.ACCEPT or row.sha256 not in held or held[row.sha256].removes:
            held[row.sha256] = row
    return held


def digest_of_changes(held: dict[str, Correction]) -> str | None:
    """Returns a digest of the changes to a set, regardless of who decided them and when; None if there are none."""
    lines = sorted(f"{row.sha256} {row.removes} {row.new}\n" for row in held.values() if row.changes)
    return files.sha256("".join(lines).encode()) if lines else None
