"""Rows of tables, read one by one: text tables (CSV, TSV, space-separated), JSON lines, Parquet."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from sightline.core.errors import UserError, fault
from sightline.core.rejection import RejectionError, RejectionReason
from sightline.core.text import listed
from sightline.sources.file import SourceFile

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

TableRow = dict[str, Any] | RejectionError

_BATCH = 64  # Parquet rows in memory at a time; each may contain an image
_SEPARATORS = {".csv": ",", ".tsv": "\t", ".tab": "\t", ".txt": " "}


@dataclass(frozen=True)
class TableFormat:
    """The format of a table, as far as the file's extension does not determine it.

    Attributes:
        names: Names of the first columns of a text table without a header line; empty if its first line has them.
        separator: The separator between the cells of a text table; None for the one implied by the extension.
    """

    names: tuple[str, ...] = ()
    separator: str | None = None


PLAIN = TableFormat()
"""A table whose extension and first line determine its format."""


def read_rows(
    table: SourceFile, columns: dict[str, str | None], form: TableFormat = PLAIN, every: bool = False
) -> Iterator[TableRow]:
    """Yields rows as mappings from column name to cell, or an error in place of a row that cannot be read.

    Args:
        table: The table; its extension determines its format.
        columns: Column by the setting that names it; these columns must exist.
        form: Its format.
        every: Whether to read all other columns as well.

    Raises:
        UserError: If it is not such a table, or a column does not exist.
    """
    suffix = PurePosixPath(table.name).suffix.lower()
    wanted = {setting: column for setting, column in columns.items() if column is not None}
    if suffix in _SEPARATORS:
        return _text_rows(table, wanted, form.separator or _SEPARATORS[suffix], form.names)
    if form.names or form.separator is not None:
        knob = "columns=[]" if form.names else "separator=null"
        raise UserError(f"{table.name}: is not a text table: set ++ingest.source_options.{knob}")
    if suffix in (".jsonl", ".ndjson"):
        return _json_lines(table)
    if suffix == ".parquet":
        return _parquet(table, wanted, every)
    raise UserError(f"{table.name}: not a table; its name must end in .csv, .tsv, .txt, .jsonl, .ndjson or .parquet")


def _text_rows(table: SourceFile, wanted: dict[str, str], separator: str, names: Sequence[str]) -> Iterator[TableRow]:
    csv.field_size_limit(2**31 - 1)  # a cell may contain an image in base64
    reader = None
    with table.open() as stream, io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as lines:
        try:
            reader = csv.reader(lines, delimiter=separator, strict=True, skipinitialspace=separator == " ")
            header = next(reader, [])
            rows: Iterable[list[str]] = reader
            if names:
                rows = itertools.chain([header], reader)
                header = [*names, *(f"column {number}" for number in range(len(names) + 1, len(header) + 1))]
            _require(table, wanted, header)
            # A row that is too short gets None in the last columns; surplus cells are ignored.
            yield from (dict(itertools.zip_longest(header, row[: len(header)])) for row in rows if row)
        except csv.Error as error:
            raise UserError(f"{table.name}: line {reader.line_num if reader else 1}: {error}") from None
        except UnicodeDecodeError as error:
            raise UserError(f"{table.name}: not UTF-8 ({error.reason}); save it as UTF-8") from None


def _json_lines(table: SourceFile) -> Iterator[TableRow]:
    with table.open() as stream:
        for line in stream:
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            yield (
                row
                if isinstance(row, dict)
                else RejectionError(RejectionReason.UNREADABLE, "the line is not a JSON object")
            )


def _parquet(table: SourceFile, wanted: dict[str, str], every: bool) -> Iterator[TableRow]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with table.open() as stream:
        try:
            with pq.ParquetFile(stream, buffer_size=2**20) as file:
                _require(table, wanted, file.schema_arrow.names)
                names = None if every else sorted(set(wanted.values()))
                for batch in parquet_batches(file, names):
                    yield from batch.to_pylist()
        except (pa.ArrowException, OSError, LookupError, ValueError, OverflowError) as error:
            if fault(error):  # a failure of the machine, not of the file
                raise
            raise UserError(f"{table.name}: not readable as Parquet: {' '.join(str(error).split())}") from None


def parquet_batches(file: pq.ParquetFile, columns: list[str] | None) -> Iterator[pa.RecordBatch]:
    """Yields the rows of a Parquet file, a few at a time; memory holds one encoded row group.

    Args:
        file: The file.
        columns: Names of the columns to read; None for all.
    """
    for group in range(file.num_row_groups):  # if asked for all groups at once, Arrow would keep them until the last
        yield from file.iter_batches(batch_size=_BATCH, row_groups=[group], columns=columns)


def _require(table: SourceFile, wanted: dict[str, str], there: Iterable[str]) -> None:
    names = [str(name) for name in there]
    for setting, column in wanted.items():
        if column not in names:
            other = next((mark for mark in (";", "|", "\t", ",") if len(names) == 1 and mark in names[0]), None)
            name, value = ("separator", f"'{other}'") if other else (setting, "NAME")
            raise UserError(
                f"ingest.source.{setting}: no column {column!r} in {table.name}; it has {listed(names)}: set "
                f'"++ingest.source_options.{name}={value}"'
            )
