"""Rows of tables, read one by one: CSV, TSV, JSON lines, Parquet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Any

from sightline.core.errors import UserError
from sightline.core.rejection import RejectionError, RejectionReason
from sightline.sources.file import SourceFile

TableRow = dict[str, Any] | RejectionError

_BATCH = 64  # rows of Parquet in memory at a time; each may hold an image
_SEPARATORS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}


def read_rows(table: SourceFile, columns: dict[str, str | None]) -> Iterator[TableRow]:
    """Yields rows as mappings of column names to cells; in a row's place, why it cannot be read.

    Args:
        table: The table; its ending tells its format.
        columns: For each setting that names a column, the column; it must be there.

    Raises:
        UserError: If it is no such table, or a column is not there.
    """
    suffix = PurePosixPath(table.name).suffix.lower()
    wanted = {setting: column for setting, column in columns.items() if column is not None}
    if suffix in _SEPARATORS:
        return _csv(table, wanted, _SEPARATORS[suffix])
    if suffix in (".jsonl", ".ndjson"):
        return _json_lines(table)
    if suffix == ".parquet":
        return _parquet(table, wanted)
    raise UserError(f"{table.name}: no table; its name must end in .csv, .tsv, .jsonl, .ndjson or .parquet")


def _csv(table: SourceFile, wanted: dict[str, str], separator: str) -> Iterator[TableRow]:
    csv.field_size_limit(2**31 - 1)  # a cell may hold an image in base64
    reader = None
    with table.open() as stream, io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as lines:
        try:
            reader = csv.DictReader(lines, delimiter=separator, strict=True)
            _require(table, wanted, reader.fieldnames or [])
            yield from reader
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
                else RejectionError(RejectionReason.UNREADABLE, "the line is no JSON object")
            )


def _parquet(table: SourceFile, wanted: dict[str, str]) -> Iterator[TableRow]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with table.open() as stream:
        try:
            # Buffered, so that memory holds pages and not the column of a whole row group.
            with pq.ParquetFile(stream, buffer_size=2**20) as file:
                _require(table, wanted, file.schema_arrow.names)
                for batch in file.iter_batches(batch_size=_BATCH, columns=sorted(set(wanted.values()))):
                    yield from batch.to_pylist()
        except pa.ArrowException as error:
            raise UserError(f"{table.name}: no Parquet that can be read: {' '.join(str(error).split())}") from None


def _require(table: SourceFile, wanted: dict[str, str], there: Iterable[str]) -> None:
    for setting, column in wanted.items():
        if column not in there:
            raise UserError(
                f"ingest.source.{setting}: no column {column!r} in {table.name}; it has {', '.join(map(str, there))}"
            )
