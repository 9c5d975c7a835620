"""A list of images: a table with one row per image."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, ClassVar

from sightline.config.schema import require
from sightline.core.credentials import mask
from sightline.core.rejection import RejectionError, RejectionReason
from sightline.core.text import composed, is_litter, one_label
from sightline.datasets.raw_set import ImageRecord, Rejection
from sightline.imaging.encoded import image_bytes
from sightline.sources import table_cells
from sightline.sources.base import SOURCES, Source, SourceConfig, SourceOption
from sightline.sources.databases.digests import content_digest
from sightline.sources.file import source_file
from sightline.sources.option_checks import require_one_place
from sightline.sources.table_files import open_table_files
from sightline.sources.table_rows import TableRow, read_rows


@SOURCES.register("table")
@dataclass
class TableOption(SourceOption):
    """A list of images: CSV, TSV, Parquet or JSON lines, told apart by the file's ending.

    Attributes:
        path: The list.
        url: The list behind a URL; instead of `path`.
        root: Folder that image paths are relative to; null for the list's own folder.
        path_column: Column that names the image file; null where `bytes_column` holds the image.
        bytes_column: Column that holds the encoded image (Parquet; base64 text or data URLs in the others), or null.
        label_column: Column of the class.
        split_column: Column of the split, or null.
        group_column: Column of the group whose images stay in one split, or null.
        id_column: Column of the id, or null: the path, or the row's number where there is none.
        unlisted: Whether files below `root` that no row names are reported.
    """

    path: str | None
    url: str | None
    root: str | None
    path_column: str | None
    bytes_column: str | None
    label_column: str
    split_column: str | None
    group_column: str | None
    id_column: str | None
    unlisted: bool

    one_class_remedy: ClassVar[str] = "look at the column that ingest.source.label_column names"
    no_training_remedy: ClassVar[str] = "set ++ingest.source_options.split_column=null"

    def __post_init__(self) -> None:
        require_one_place(self.path, self.url)
        require(
            (self.path_column is None) != (self.bytes_column is None),
            "path_column: name either it or bytes_column, and set the other to null",
        )

    def open(self, config: SourceConfig) -> Source:
        return TableSource(self, config.max_bytes)


class TableSource:
    """Every row is an input, and so is every image file beside listed ones that no row names.

    Args:
        option: The table and its columns.
        max_bytes: A larger file is rejected without being read.
    """

    def __init__(self, option: TableOption, max_bytes: int) -> None:
        self._option = option
        self._file = source_file(option.path, option.url)
        place = option.path or option.url or ""
        self._files = open_table_files(option.root or place.rpartition("/")[0] or ".", max_bytes)

    def fingerprint(self, deep: bool = False) -> dict[str, Any]:
        if deep:
            count, digest = content_digest(self.records())
            return {"inputs": count, "content": digest}
        column = self._option.path_column
        if column is None:
            return self._file.fingerprint(deep=False)
        return {**self._file.fingerprint(deep=False), **self._files.fingerprint(self._paths(column))}

    def records(self) -> Iterator[ImageRecord | Rejection]:
        option = self._option
        listed: set[str] = set()
        rejected: set[str] = set()
        columns = {name: getattr(option, name) for name in _COLUMNS}
        for number, row in enumerate(read_rows(self._file, columns), 1):
            identity = f"row-{number:07}"
            try:
                if isinstance(row, RejectionError):
                    raise row
                named = table_cells.text(_cell(row, option.id_column))
                # What a list gives as a URL may hold a signature; rejections are written and printed.
                identity = named or mask(table_cells.text(_cell(row, option.path_column)) or identity)
                path = self._path(row)
                if path is not None:
                    listed.add(path)
                    identity = named or composed(path)
                label = table_cells.text(one_label(_cell(row, option.label_column)))
                data = self._bytes(row) if path is None else self._files.read(path)
            except RejectionError as fault:
                rejected.add(posixpath.normpath(identity))
                yield Rejection(identity, fault.reason, fault.detail)
                continue
            yield ImageRecord(
                id=identity,
                data=data,
                label=label,
                split=table_cells.text(_cell(row, option.split_column)),
                group=table_cells.text(_cell(row, option.group_column)),
                path=path if path is not None and composed(path) != identity else None,
            )
        if option.unlisted and option.path_column is not None:
            for path in self._files.unlisted(listed):
                if path in rejected:  # a row does name it
                    continue
                yield Rejection(
                    composed(path),
                    RejectionReason.NO_LABEL,
                    f"no row of {PurePosixPath(self._file.name).name} names it",
                )

    def _paths(self, column: str) -> Iterator[str]:
        for row in read_rows(self._file, {"path_column": column}):
            try:
                if not isinstance(row, RejectionError) and (path := self._path(row)) is not None:
                    yield path
            except RejectionError:
                continue  # ingestion lists it as rejected

    def _path(self, row: dict[str, Any]) -> str | None:
        if self._option.path_column is None:
            return None
        path = table_cells.text(row.get(self._option.path_column))
        if path is None:
            raise RejectionError(RejectionReason.MISSING, "the row names no file")
        placed = self._files.place(path)
        if is_litter(placed):
            raise RejectionError(
                RejectionReason.NOT_AN_IMAGE, "hidden, or left behind by an operating system; if not, rename it"
            )
        return placed

    def _bytes(self, row: dict[str, Any]) -> bytes:
        data = image_bytes(_cell(row, self._option.bytes_column))
        if data is None:
            raise RejectionError(RejectionReason.MISSING, "the row holds no image")
        return data


_COLUMNS = ("path_column", "bytes_column", "label_column", "split_column", "group_column", "id_column")


def _cell(row: TableRow, column: str | None) -> Any:
    return None if column is None or isinstance(row, RejectionError) else row.get(column)
