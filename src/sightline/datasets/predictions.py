"""Predictions of a classifier on a split, one row per image, as Parquet for comparing classifiers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sightline.metrics.base import Bools, Floats, Labels

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("label", pa.int32(), nullable=False),
        pa.field("predicted", pa.int32(), nullable=False),
        pa.field("probabilities", pa.list_(pa.float32()), nullable=False),
    ]
)


CLASSES = "classes"


@dataclass(frozen=True)
class Predictions:
    """A file's columns: ids, true and predicted classes [n] int64, probabilities [n, K] float64.

    Attributes:
        classes: K names, if the file has them.
    """

    ids: list[str]
    labels: Labels
    predicted: Labels
    probabilities: Floats
    classes: list[str] | None = None

    @property
    def correct(self) -> Bools:
        """Whether each answer is right, [n]."""
        return np.asarray(self.labels == self.predicted)


def save_predictions(
    path: Path,
    ids: Sequence[str],
    labels: Labels,
    predicted: Labels,
    probabilities: Floats,
    classes: Sequence[str] | None = None,
) -> None:
    """Writes one row per image, in the order given: id, label, predicted, probabilities (a list of K).

    The class names go into the file's metadata under `classes`, as JSON, so that it can be read without the dataset.
    """
    table = pa.table(
        {
            "id": ids,
            "label": labels.astype(np.int32),
            "predicted": predicted.astype(np.int32),
            "probabilities": pa.array(list(probabilities.astype(np.float32)), pa.list_(pa.float32())),
        },
        schema=SCHEMA.with_metadata({CLASSES: json.dumps(list(classes))} if classes else None),
    )
    pq.write_table(table, path)


def load_predictions(path: Path | BytesIO) -> Predictions:
    """Returns what `save_predictions` wrote, from a file or its content.

    Raises:
        ValueError, OSError: If it is something else. (Arrow's errors are subclasses of these.)
    """
    table = pq.read_table(path, schema=SCHEMA)
    if missing := [name for name in SCHEMA.names if table[name].null_count]:  # a missing column is read as null
        raise ValueError(f"no values in {', '.join(missing)}")
    class_list = json.loads((pq.read_schema(path).metadata or {}).get(CLASSES.encode(), "null"))
    if not isinstance(class_list, list | None):
        raise ValueError(f"{CLASSES}: not a list")
    flat = table["probabilities"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return Predictions(
        ids=table["id"].to_pylist(),
        labels=table["label"].to_numpy().astype(np.int64),
        predicted=table["predicted"].to_numpy().astype(np.int64),
        probabilities=flat.astype(np.float64).reshape(len(table), -1),
        classes=class_list,
    )
