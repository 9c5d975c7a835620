"""Small datasets as the earlier stages write them, and configurations, to test the methods on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.datasets import load_digits

from sightline.config.compose import compose, typed
from sightline.core.files import sha256
from sightline.datasets import processed_set, raw_set
from sightline.datasets.processed_set import ProcessedSet
from sightline.imaging.decode import encode_png
from sightline.imaging.transform.pipeline import Transform
from sightline.imaging.transform.resize import Stretch
from sightline.imaging.transform.segment import NoSegmentation
from sightline.imaging.transform.step import Nothing
from sightline.stages.baseline.baseline_job import fixed_threads
from sightline.stages.baseline.config import BaselineConfig

Write = Callable[..., ProcessedSet]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Limits every method to one thread, as in the stage."""
    with fixed_threads(1):
        yield


def configuration(**changes: Any) -> BaselineConfig:
    """Returns the defaults of conf/ with overrides."""
    overrides = [f"baseline.{name}={value}" for name, value in changes.items()]
    return typed(BaselineConfig, compose(overrides).baseline, "baseline")


def digits(count: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Returns scikit-learn's digits, uint8 [n, 8, 8, 1], and their labels, int64 [n]."""
    found = load_digits()
    return (found.images[:count, ..., None] * 15.9).astype(np.uint8), found.target[:count].astype(np.int64)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Returns a function that writes a processed set from images, labels and split names.

    It also writes the raw images, which the transform leaves unchanged, to the sibling folder `raw`.
    """

    def write(
        images: np.ndarray, labels: np.ndarray, splits: list[str], origins: list[str] | None = None, classes: int = 10
    ) -> ProcessedSet:
        root = tmp_path / "processed"
        root.mkdir()
        ids = [f"{i:05}" for i in range(len(images))]
        np.save(root / "shard-0.npy", images)
        columns = {
            "id": ids,
            "label": pa.array(labels, pa.int32()),
            "split": splits,
            "shard": ["shard-0.npy"] * len(ids),
            "row": pa.array(range(len(ids)), pa.int32()),
            "origin": origins or ids,
            "sha256": ["0" * 64] * len(ids),
        }
        pq.write_table(pa.table(columns, schema=processed_set.INDEX_SCHEMA), root / processed_set.INDEX)
        raw_set.write_classes([str(i) for i in range(classes)], root / raw_set.CLASSES)
        nothing = Nothing("none")
        transform = Transform.build(8, 1, [0], nothing, nothing, nothing, NoSegmentation("none"), Stretch("stretch"))
        transform.save(root / processed_set.TRANSFORM)
        (tmp_path / "raw").mkdir()
        files = [encode_png(image) for image in images]
        raw = (
            raw_set.RawImage(name, data, str(label), None, None, None, sha256(data), "PNG", 8, 8)
            for name, data, label in zip(ids, files, labels, strict=True)
        )
        raw_set.write_raw_shards(raw, tmp_path / "raw")
        return ProcessedSet(root)

    return write
