"""Predictions as Parquet. Needs pyarrow."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path

from sightline.core import files
from sightline.core.errors import UserError
from sightline.predict.prediction import Prediction
from sightline.predict.prediction_row import as_row

_ROWS = 10_000
"""Rows held in memory: a row group of the file."""


def write_parquet(predictions: Iterable[Prediction], path: Path) -> None:
    """Writes one row per prediction; the file appears when it is complete.

    Raises:
        UserError: If pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError:
        raise UserError("Parquet needs pyarrow: pip install pyarrow, or write .csv or .jsonl") from None
    ranked = pa.struct([("label", pa.string()), ("probability", pa.float32())])
    schema = pa.schema(
        [
            ("path", pa.string()),
            ("label", pa.string()),
            ("probability", pa.float32()),
            ("top", pa.list_(ranked)),
            ("error", pa.string()),
            ("detail", pa.string()),
            ("abstained", pa.bool_()),
            ("novelty", pa.float32()),
            ("class_set", pa.list_(pa.string())),
        ]
    )
    rest = iter(predictions)
    with files.atomic_file(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        while group := list(itertools.islice(rest, _ROWS)):
            writer.write_table(pa.Table.from_pylist([as_row(p) for p in group], schema=schema))
