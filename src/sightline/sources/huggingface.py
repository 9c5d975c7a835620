"""Datasets as stored by Hugging Face's `datasets`: Parquet, or the Arrow files of `save_to_disk`."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightline.config.schema import require
from sightline.core.errors import UserError
from sightline.core.rejection import RejectionError, RejectionReason
from sightline.core.sampling import sample_filter
from sightline.core.text import is_litter, label_of, listed, one_label
from sightline.datasets.raw_set import ImageRecord, Rejection
from sightline.imaging.encoded import image_bytes
from sightline.sources import content, table_cells, tree
from sightline.sources.base import SOURCES, Source, SourceConfig, SourceOption
from sightline.sources.boundary import Boundary
from sightline.sources.content import NO_MEMORY, ContentMemory
from sightline.sources.layout import split_of
from sightline.sources.table_rows import parquet_batches

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH = 64
_INFO = "dataset_info.json"


@SOURCES.register("huggingface")
@dataclass
class HuggingfaceOption(SourceOption):
    """Parquet files with an `Image` feature, or a folder saved by `datasets`.

    Attributes:
        path: A Parquet file, a folder of them, or a folder written by `save_to_disk`.
        image_column: Column with the `Image` feature.
        label_column: Column of the class: text, or a `ClassLabel` whose names are in the files.
        group_column: Column of the group whose images stay in one split, or null.
        id_column: Column of the id; null for the file's name and the row's number.
    """

    path: str | None
    image_column: str
    label_column: str
    group_column: str | None
    id_column: str | None

    def __post_init__(self) -> None:
        require(self.path is not None, "path: has no value; set ingest.path to the Parquet file or folder")

    def open(self, config: SourceConfig) -> Source:
        return HuggingfaceSource(self, config.max_bytes, config.limit)


class HuggingfaceSource:
    """Every row is an input. The split is read from file or folder names (`train-00000-of-00001.parquet`, `test/...`).

    Args:
        option: The source's settings: the location of the files, and their columns.
        max_bytes: If a row refers to a file instead of containing the image, larger files are rejected.
        limit: Maximum number of rows, sampled evenly from each class; None for all.

    Attributes:
        notes: Human-readable notes on what was read; complete once all records have been read.
    """

    def __init__(self, option: HuggingfaceOption, max_bytes: int, limit: int | None = None) -> None:
        self._option = option
        self._path = Path(option.path or "")
        self._root = self._path if self._path.is_dir() else self._path.parent
        self._max_bytes = max_bytes
        self._limit = limit
        self.notes: list[str] = []

    def fingerprint(self, memory: ContentMemory = NO_MEMORY) -> dict[str, Any]:
        if content.is_here(self._path):
            self._files()
        return content.fingerprint(self._path, memory)

    def records(self) -> Iterator[ImageRecord | Rejection]:
        option = self._option
        files = self._files()
        named = [option.id_column] if option.id_column else []
        wanted = [
            option.image_column,
            option.label_column,
            *named,
            *([option.group_column] if option.group_column else []),
        ]
        labelled = (
            (identity, label_of(row[option.label_column], functools.partial(_class_name, names=names)))
            for file in (files if self._limit is not None else ())
            for names in [self._class_names(file)]
            for identity, row in self._rows(file, [option.label_column, *named])
        )
        self.notes = []
        is_chosen = sample_filter(labelled, self._limit, self.notes)
        for file in files:
            names = self._class_names(file)
            for identity, row in self._rows(file, wanted):
                if not is_chosen(identity):
                    continue
                try:
                    data = self._image(row[option.image_column])
                    label = _class_name(one_label(row[option.label_column]), names)
                except RejectionError as fault:
                    yield Rejection(identity, fault.reason, fault.detail)
                    continue
                group = table_cells.cell_text(row[option.group_column]) if option.group_column else None
                yield ImageRecord(identity, data, label, self._split(file), group)

    def _files(self) -> list[Path]:
        if self._path.is_file():
            return [self._path]
        paths = sorted(p for p in self._path.rglob("*") if p.suffix in (".parquet", ".arrow"))
        kept = [
            p for p in paths if not (p.name.startswith("cache-") or is_litter(p.relative_to(self._path).as_posix()))
        ]
        if not kept:
            remedy = content.how_to_get(self._path)
            raise UserError(f"ingest.path: no .parquet or .arrow file at {self._path}" + (remedy and f"; {remedy}"))
        return kept

    def _split(self, file: Path) -> str | None:
        words = [re.split(r"[-._]", file.name)[0], *reversed(file.relative_to(self._root).parent.parts)]
        return next(filter(None, map(split_of, words)), None)

    def _rows(self, file: Path, columns: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        stem = file.relative_to(self._root).with_suffix("").as_posix()
        number = 0
        for batch in _batches(file, columns):
            for row in batch.to_pylist():
                named = table_cells.cell_text(row[self._option.id_column]) if self._option.id_column else None
                yield named or f"{stem}-{number:06}", row
                number += 1

    def _image(self, cell: Any) -> bytes:
        data = image_bytes(cell)
        if data is not None:
            return data
        path = cell.get("path") if isinstance(cell, dict) else None
        if not path:
            raise RejectionError(RejectionReason.MISSING, "the row holds no image")
        real = os.path.realpath(self._root / path)
        if not Boundary(self._root).holds(real):
            raise RejectionError(RejectionReason.UNSAFE_ENTRY, f"names a file outside {self._root}")
        return tree.read_file(Path(real), self._max_bytes)

    def _class_names(self, file: Path) -> list[str] | None:
        """Returns the names of a `ClassLabel`, from the file's own metadata or the description next to it."""
        metadata = _schema(file).metadata or {}
        features: Any = {}
        with contextlib.suppress(ValueError, KeyError, AttributeError):
            features = json.loads(metadata[b"huggingface"])["info"]["features"]
        beside = file.with_name(_INFO)
        if not features and beside.is_file():
            with contextlib.suppress(ValueError, KeyError):
                features = json.loads(beside.read_text(encoding="utf-8"))["features"]
        feature = features.get(self._option.label_column) if isinstance(features, dict) else None
        names = feature.get("names") if isinstance(feature, dict) else None
        return [str(name) for name in names] if isinstance(names, list) else None


def _class_name(cell: Any, names: list[str] | None) -> str | None:
    if names is not None and isinstance(cell, int):
        return names[cell] if 0 <= cell < len(names) else None
    return table_cells.cell_text(cell)


def _schema(file: Path) -> pa.Schema:
    with _opened(file) as reader:
        return reader.schema_arrow if file.suffix == ".parquet" else reader.schema


def _batches(file: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    with _opened(file) as reader:
        there = (reader.schema_arrow if file.suffix == ".parquet" else reader.schema).names
        for column in columns:
            if column not in there:
                raise UserError(
                    f"ingest.source: no column {column!r} in {file}; it has {listed(there)}: "
                    "set image_column, label_column, group_column or id_column"
                )
        if file.suffix == ".parquet":
            yield from parquet_batches(reader, columns)
        else:
            for batch in reader:
                for start in range(0, batch.num_rows, _BATCH):
                    yield batch.select(columns).slice(start, _BATCH)


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if file.suffix == ".parquet":
            with pq.ParquetFile(file, buffer_size=2**20) as reader:
                yield reader
            return
        with pa.memory_map(str(file)) as stream:
            try:
                reader = pa.ipc.open_stream(stream)  # the format that `datasets` writes
            except pa.ArrowInvalid:
                stream.seek(0)
                opened = pa.ipc.open_file(stream)
                reader = pa.RecordBatchReader.from_batches(
                    opened.schema, (opened.get_batch(i) for i in range(opened.num_record_batches))
                )
            yield reader
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{file}: cannot be read: {' '.join(str(error).split())}") from None
