"""A list of images: a table with one row per image."""

from __future__ import annotations

import contextlib
import itertools
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from sightline.config.schema import require
from sightline.core import dvc_files
from sightline.core.credentials import mask
from sightline.core.rejection import RejectionError, RejectionReason
from sightline.core.sampling import sample
from sightline.core.text import composed, is_litter, one_label
from sightline.datasets.raw_set import ImageRecord, Rejection
from sightline.imaging.encoded import image_bytes
from sightline.sources import content, table_cells
from sightline.sources.base import SOURCES, Source, SourceConfig, SourceOption
from sightline.sources.content import NO_MEMORY, ContentMemory
from sightline.sources.file import source_file
from sightline.sources.layout import split_in
from sightline.sources.name_pattern import NO_PATTERNS, PathPatterns, PatternSurvey
from sightline.sources.option_checks import require_one_place
from sightline.sources.table_files import open_table_files
from sightline.sources.table_pixels import EVERY, PixelCells
from sightline.sources.table_rows import TableFormat, TableRow, read_rows


@SOURCES.register("table")
@dataclass
class TableOption(SourceOption):
    """A list of images: CSV, TSV, space-separated text, Parquet or JSON lines, depending on the file's extension.

    Attributes:
        path: The list.
        url: The URL of the list, instead of `path`.
        root: Folder that image paths are relative to; null for the list's own folder.
        columns: Names of the first columns of a text list without a header line; empty if it has one.
        separator: The separator between the cells of a text list; null: comma (.csv), tab (.tsv), spaces (.txt).
        path_column: Column with the path of the image file; null if another column contains the image.
        bytes_column: Column with the encoded image (Parquet; base64 text or data URLs in other formats), or null.
        pixel_columns: Column with all pixel levels, 0 to 255; `*` if each column that no other setting names holds one,
            as in Kaggle's MNIST; or null.
        pixel_shape: Height, width and, for colour, 3 of such images; empty for a grey square.
        label_column: Column of the class; `ingest.class_from` overrides it.
        split_column: Column of the split, or null.
        group_column: Column of the group whose images stay in one split, or null.
        id_column: Column of the id; null for the path or, without one, the row's number.
        unlisted: Whether to report image files next to listed ones that no row names; not with `ingest.limit`.
    """

    path: str | None
    url: str | None
    root: str | None
    columns: list[str]
    separator: str | None
    path_column: str | None
    bytes_column: str | None
    pixel_columns: str | None
    pixel_shape: list[int]
    label_column: str
    split_column: str | None
    group_column: str | None
    id_column: str | None
    unlisted: bool

    has_paths: ClassVar[bool] = True
    one_class_remedy: ClassVar[str] = "check the column that ingest.source.label_column names"
    no_training_remedy: ClassVar[str] = "set ++ingest.source_options.split_column=null"

    def __post_init__(self) -> None:
        require_one_place(self.path, self.url)
        images = (self.path_column, self.bytes_column, self.pixel_columns)
        require(
            sum(column is not None for column in images) == 1,
            "path_column: name one of path_column, bytes_column and pixel_columns, and set the others to null",
        )
        require(
            self.separator is None or (len(self.separator) == 1 and self.separator not in '\r\n"'),
            f"separator: must be one character, or null, not {self.separator!r}",
        )
        require(len(self.columns) == len(set(self.columns)), f"columns: must differ, not {self.columns}")
        shape = self.pixel_shape
        require(
            not shape or (len(shape) in (2, 3) and min(shape) >= 1 and shape[2:] in ([], [1], [3])),
            f"pixel_shape: must be [height, width] or [height, width, 3], not {shape}",
        )

    def open(self, config: SourceConfig) -> Source:
        return TableSource(self, config.max_bytes, config.limit, config.patterns)


class TableSource:
    """Every row is an input, and so is every unlisted image file in the same folder as a listed one.

    Args:
        option: The table and its columns.
        max_bytes: Larger files are rejected without being read.
        limit: Maximum number of rows, sampled evenly from all; memory holds their ids. None for all.
        patterns: Patterns that are applied to the paths, in place of columns.

    Attributes:
        notes: Human-readable notes on what was read; complete once all records have been read.
    """

    def __init__(
        self, option: TableOption, max_bytes: int, limit: int | None = None, patterns: PathPatterns = NO_PATTERNS
    ) -> None:
        self.notes: list[str] = []
        self._option = option
        self._patterns = patterns
        self._limit = limit
        self._file = source_file(option.path, option.url)
        self._format = TableFormat(tuple(option.columns), option.separator)
        place = option.path or option.url or ""
        self._files = open_table_files(option.root or place.rpartition("/")[0] or ".", max_bytes)
        names = (name for name in _COLUMNS if not (patterns.label and name == "label_column"))
        self._columns: dict[str, str | None] = {name: getattr(option, name) for name in names}
        self._pixels: PixelCells | None = None
        if option.pixel_columns is not None:
            named = {option.label_column, *filter(None, self._columns.values())}
            self._pixels = PixelCells(option.pixel_columns, option.pixel_shape, named)
            if option.pixel_columns != EVERY:
                self._columns["pixel_columns"] = option.pixel_columns

    def fingerprint(self, memory: ContentMemory = NO_MEMORY) -> dict[str, Any]:
        if (whole := self._tracked(memory)) is not None:
            return {"md5": whole}
        column = self._option.path_column
        if column is None:
            return self._file.fingerprint(memory)
        rows = itertools.count()  # counts the rows that name a file
        paths = (path for path, _ in zip(self._paths(column), rows, strict=False))
        images = self._files.fingerprint(paths, memory)
        return {**self._file.fingerprint(memory), **images, "rows": next(rows)}

    def _tracked(self, memory: ContentMemory) -> str | None:
        """Returns the digest of the DVC-tracked folder with both the list and its files; None if there is none."""
        option = self._option
        if option.path is None or "://" in (option.root or ""):
            return None
        path = Path(option.path).absolute()
        tracked = dvc_files.tracked(path)
        if tracked is None or path == tracked.path:
            return None
        inside = Path(option.root or path).absolute().is_relative_to(tracked.path)
        return content.tracked_digest(path, memory) if inside else None

    def records(self) -> Iterator[ImageRecord | Rejection]:
        listed: set[str] = set()
        rejected: set[str] = set()
        chosen = self._survey() if self._limit is not None or self._patterns.used() else None
        for number, row in enumerate(self._rows(), 1):
            if chosen is not None and number not in chosen:
                continue
            identity = self._identity(row, number)
            try:
                if isinstance(row, RejectionError):
                    raise row
                path = self._path(row)
                if path is not None:
                    listed.add(path)
                    identity = table_cells.cell_text(_cell(row, self._option.id_column)) or composed(path)
                values = self._read(path, row)
                data = self._bytes(row) if path is None else self._files.read(path)
            except RejectionError as fault:
                rejected.add(posixpath.normpath(identity))
                yield Rejection(identity, fault.reason, fault.detail)
                continue
            origin = path if path is not None and composed(path) != identity else None
            yield ImageRecord(identity, data, values["label"], values["split"], values["group"], origin)
        if self._option.unlisted and self._option.path_column is not None and self._limit is None:
            for path in self._files.unlisted(listed):
                if path in rejected:  # a row names it after all
                    continue
                yield Rejection(
                    composed(path),
                    RejectionReason.NO_LABEL,
                    f"no row of {PurePosixPath(self._file.name).name} names it",
                )

    def _rows(self) -> Iterator[TableRow]:
        return read_rows(self._file, self._columns, self._format, every=self._option.pixel_columns == EVERY)

    def _identity(self, row: TableRow, number: int) -> str:
        """Returns a row's name: its id, else its path as written there, else its number."""
        named = table_cells.cell_text(_cell(row, self._option.id_column))
        # A URL in a list may contain a signature; rejections are written and printed.
        return named or mask(table_cells.cell_text(_cell(row, self._option.path_column)) or f"row-{number:07}")

    def _read(self, path: str | None, row: dict[str, Any]) -> dict[str, str | None]:
        """Returns label, split and group, from the path if a pattern is given, else from the row."""
        option, patterns = self._option, self._patterns
        text = composed(path) if path is not None else self._identity(row, 0)
        values: dict[str, str | None] = {}
        for name in ("label", "split", "group"):
            if pattern := getattr(patterns, name):
                values[name] = pattern.value(text)
            else:
                cell = _cell(row, getattr(option, f"{name}_column"))
                values[name] = table_cells.cell_text(one_label(cell) if name == "label" else cell)
        if patterns.split and values["split"]:
            values["split"] = split_in(values["split"]) or values["split"]
        return values

    def _survey(self) -> set[int]:
        """Returns the numbers of the chosen rows, and adds notes, without reading any image."""
        names: list[str] = []
        rows: list[tuple[str, str | None]] = []
        for number, row in enumerate(self._rows(), 1):
            identity, label = self._identity(row, number), None
            with contextlib.suppress(RejectionError):
                if not isinstance(row, RejectionError):
                    path = self._path(row)
                    identity = identity if path is None else composed(path)
                    label = self._read(path, row)["label"]
            names.append(identity)
            rows.append((f"{identity}\0{number}", label))
        survey = PatternSurvey(self._patterns)
        for _ in survey.watched(names):
            pass
        self.notes = survey.notes()
        taken = sample(enumerate(rows, 1), self._limit, lambda e: e[1][0], lambda e: e[1][1], self.notes)
        return {number for number, _ in taken}

    def _paths(self, column: str) -> Iterator[str]:
        for row in read_rows(self._file, {"path_column": column}, self._format):
            try:
                if not isinstance(row, RejectionError) and (path := self._path(row)) is not None:
                    yield path
            except RejectionError:
                continue  # ingestion reports it as rejected

    def _path(self, row: dict[str, Any]) -> str | None:
        if self._option.path_column is None:
            return None
        path = table_cells.cell_text(row.get(self._option.path_column))
        if path is None:
            raise RejectionError(RejectionReason.MISSING, "the row names no file")
        placed = self._files.place(path)
        if is_litter(placed):
            raise RejectionError(
                RejectionReason.NOT_AN_IMAGE, "hidden, or left behind by an operating system; if not, rename it"
            )
        return placed

    def _bytes(self, row: dict[str, Any]) -> bytes:
        if self._pixels is not None:
            return self._pixels.image(row)
        data = image_bytes(_cell(row, self._option.bytes_column))
        if data is None:
            raise RejectionError(RejectionReason.MISSING, "the row holds no image")
        return data


_COLUMNS = ("path_column", "bytes_column", "label_column", "split_column", "group_column", "id_column")


def _cell(row: TableRow, column: str | None) -> Any:
    return None if column is None or isinstance(row, RejectionError) else row.get(column)
