"""A small processed set and a small configuration, for tests that train."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sightline.config.compose import compose, typed
from sightline.core import files
from sightline.datasets.processed_set import INDEX, INDEX_SCHEMA, TRANSFORM, ProcessedSet
from sightline.datasets.raw_set import CLASSES, write_classes
from sightline.stages.train.config import TrainConfig


def processed_set(root: Path, train: int = 96, val: int = 30, classes: int = 3, size: int = 8) -> ProcessedSet:
    """Writes a processed set of bright squares on noise, whose position depends on the class, and opens it."""
    root.mkdir(parents=True)
    random = np.random.default_rng(0)
    count = train + val
    labels = np.arange(count) % classes
    images = random.integers(0, 120, (count, size, size, 1), np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[label * 2 : label * 2 + 3, label * 2 : label * 2 + 3] += 100
    np.save(root / "shard-0.npy", images)
    rows = [
        {
            "id": f"{i:04}",
            "label": int(label),
            "split": "train" if i < train else "val",
            "shard": "shard-0.npy",
            "row": i,
            "origin": f"{i:04}",
            "sha256": files.sha256(images[i].tobytes()),
        }
        for i, label in enumerate(labels)
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=INDEX_SCHEMA), root / INDEX)
    write_classes([f"class {i}" for i in range(classes)], root / CLASSES)
    files.write_json(root / TRANSFORM, {"statistics": {"mean": [0.3], "std": [0.2]}})
    return ProcessedSet(root)


SMALL = [
    "train/trainer=cpu",
    "train/augment=digits",
    "train.augment_on=batch",
    "train.threads=1",
    "train.batch_size=16",
    "train.max_epochs=3",
]
SMALL_CNN = ["train.model.width=4", "train.model.blocks=1", "train.model.hidden=8", "train.model.dropout=0.3"]


def train_config(**overrides: Any) -> TrainConfig:
    """Composes the train section for a few epochs on the CPU, with a small network unless overrides name another."""
    model = [] if "train/model" in overrides else SMALL_CNN
    config = compose([*SMALL, *model, *(f"{key}={value}" for key, value in overrides.items())])
    return typed(TrainConfig, config.train, "train")
