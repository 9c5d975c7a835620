"""The index, the statistics and the summary of a processed set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sightline.datasets.processed_set import INDEX_SCHEMA
from sightline.datasets.raw_set import SPLITS
from sightline.stages.preprocess.npy_writer import Sums


def write_index(parts: Sequence[pa.Table], path: Path) -> None:
    """Writes the index, sorted by id."""
    table = pa.concat_tables([part.cast(INDEX_SCHEMA) for part in parts]).combine_chunks()
    ids = table["id"]
    if not pc.all(pc.less_equal(ids.slice(0, len(ids) - 1), ids.slice(1))).as_py():
        table = table.sort_by("id")
    # Dictionaries only for repeated values, and no compression of digests: either would cost more than the rest of the
    # writing. No reader filters this file by column statistics.
    pq.write_table(
        table,
        path,
        compression={name: "none" if name == "sha256" else "zstd" for name in table.column_names},
        use_dictionary=["label", "split", "shard"],
        write_statistics=False,
    )


class Moments:
    """Per-channel mean and standard deviation of uint8 pixels, exact and so independent of the order of additions.

    Args:
        shape: [H, W, C] of every image.
    """

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self._pixels = shape[0] * shape[1]
        self._totals = [[0, 0] for _ in range(shape[2])]
        self.count = 0

    def add(self, sums: Sums) -> None:
        """Adds images by their sums, [n, C, 2] int64."""
        self.count += len(sums)
        # Python integers do not overflow, however large the set.
        for total, more in zip(self._totals, sums.sum(axis=0).tolist(), strict=True):
            total[0] += more[0]
            total[1] += more[1]

    def mean_and_std(self) -> tuple[list[float], list[float]]:
        """Returns the mean and population standard deviation per channel, in [0, 1], rounded to 6 digits."""
        number = self.count * self._pixels
        means = [round(total / number / 255, 6) for total, _ in self._totals]
        # Integers until the last step: as floats, the difference of two large squares would lose precision.
        variances = [(number * squares - total * total) / number**2 for total, squares in self._totals]
        return means, [round(variance**0.5 / 255, 6) for variance in variances]


def split_summary(
    labels: npt.NDArray[np.int32],
    splits: npt.NDArray[np.int8],
    classes: Sequence[str],
    counts: Mapping[str, Any],
) -> dict[str, Any]:
    """Counts images per split and class, and measures how far class shares of each split deviate from the whole set's.

    Args:
        labels: [n] class index of each image in the index, without copies.
        splits: [n] each image's split, as its position in `SPLITS`.
        classes: Class names in order of index.
        counts: Further entries of the summary.
    """
    table = np.zeros((len(SPLITS), len(classes)), np.int64)
    np.add.at(table, (splits, labels), 1)
    totals = table.sum(axis=1)
    shares = table / np.maximum(totals, 1)[:, None]
    deviation = np.abs(shares - table.sum(axis=0) / len(labels)).max(axis=1) * (totals > 0)
    return {
        "images": len(labels),
        "images_per_split": dict(zip(SPLITS, totals.tolist(), strict=True)),
        "images_per_class": {
            name: dict(zip(SPLITS, table[:, index].tolist(), strict=True)) for index, name in enumerate(classes)
        },
        "largest_class_share_deviation": {
            split: round(value, 4) for split, value in zip(SPLITS, deviation.tolist(), strict=True)
        },
        **counts,
    }
