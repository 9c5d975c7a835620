"""Reads tables row by row: CSV, TSV, JSON lines, Parquet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Any

from sightline.core.errors import UserError
from sightline.core.rejection import RejectionError, RejectionReason
from sightline.sources.file import Blob

Row = dict[str, Any] | RejectionError

_BATCH = 64  # rows of Parquet in memory at a time; each may hold an image
_SEPARATORS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}


def read_rows(blob: Blob, columns: dict[str, str | None]) -> Iterator[Row]:
    """Yields rows as mappings of column names to cells; in a row's place, why it cannot be read.

    Args:
        blob: The table; its ending tells its format.
        columns: For each setting that names a column, the column; it must be there.

    Raises:
        UserError: If it is no such table, or a column is not there.
    """
    suffix = PurePosixPath(blob.name).suffix.lower()
    wanted = {setting: column for setting, column in columns.items() if column is not None}
    if suffix in _SEPARATORS:
        return _csv(blob, wanted, _SEPARATORS[suffix])
    if suffix in (".jsonl", ".ndjson"):
        return _json_lines(blob)
    if suffix == ".parquet":
        return _parquet(blob, wanted)
    raise UserError(f"{blob.name}: no table; its name must end in .csv, .tsv, .jsonl, .ndjson or .parquet")


def _csv(blob: Blob, wanted: dict[str, str], separator: str) -> Iterator[Row]:
    csv.field_size_limit(2**31 - 1)  # a cell may hold an image in base64
    reader = None
    with blob.open() as stream, io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as lines:
        try:
            reader = csv.DictReader(lines, delimiter=separator, strict=True)
            _require(blob, wanted, reader.fieldnames or [])
            yield from reader
        except csv.Error as error:
            raise UserError(f"{blob.name}: line {reader.line_num if reader else 1}: {error}") from None
        except UnicodeDecodeError as error:
            raise UserError(f"{blob.name}: not UTF-8 ({error.reason}); save it as UTF-8") from None


def _json_lines(blob: Blob) -> Iterator[Row]:
    with blob.open() as stream:
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


def _parquet(blob: Blob, wanted: dict[str, str]) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with blob.open() as stream:
        try:
            # Buffered, so that memory holds pages and not the column of a whole row group.
            with pq.ParquetFile(stream, buffer_size=2**20) as file:
                _require(blob, wanted, file.schema_arrow.names)
                for batch in file.iter_batches(batch_size=_BATCH, columns=sorted(set(wanted.values()))):
                    yield from batch.to_pylist()
        except pa.ArrowException as error:
            raise UserError(f"{blob.name}: no Parquet that can be read: {' '.join(str(error).split())}") from None


def _require(blob: Blob, wanted: dict[str, str], there: Iterable[str]) -> None:
    for setting, column in wanted.items():
        if column not in there:
            raise UserError(
                f"ingest.source.{setting}: no column {column!r} in {blob.name}; it has {', '.join(map(str, there))}"
            )
