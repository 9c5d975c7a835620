"""The raw set's metadata as columns, so that per-image data needs no Python object and no loop per image."""

from __future__ import annotations

import binascii
import functools
import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sightline.core.errors import UserError
from sightline.datasets.arrow_columns import integers, strings, valid, whole_numbers
from sightline.datasets.raw_set import CLASSES, NEAR, SPLITS, raw_shards, read_classes, read_near
from sightline.datasets.raw_shard_file import read_columns
from sightline.stages.preprocess.groups import Groups, group_images
from sightline.stages.preprocess.splits import LEFT_OUT

_COLUMNS = ["id", "label", "split", "group", "sha256"]


@dataclass(frozen=True)
class RawSet:
    """A raw set. Its shards are in order of their first id, so that all rows together are sorted by id.

    Attributes:
        root: The folder.
        classes: Class names in order of index.
        shards: The shards' files.
        begins: [shards + 1] int64, the first row of each shard, then the total number of rows.
        table: Columns `id`, `label`, `split`, `group` and `sha256` of all rows.
    """

    root: Path
    classes: list[str]
    shards: list[Path]
    begins: npt.NDArray[np.int64]
    table: pa.Table

    @classmethod
    def read(cls, root: Path) -> RawSet:
        """Reads what the ingest stage wrote.

        Raises:
            UserError: If there are no images, or a shard is damaged.
        """
        paths = [shard.path for shard in raw_shards(root)]
        if not paths:
            raise UserError(f"{root} holds no images: run the ingest stage, or look at its rejected.parquet")
        # Files are read in parallel, since their columns are too short for several threads per file or for prefetching.
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            tables = [table.select(_COLUMNS) for table in pool.map(read_columns, paths)]
        order = sorted(range(len(paths)), key=lambda shard: str(tables[shard]["id"][0]))
        begins = np.cumsum([0, *(tables[shard].num_rows for shard in order)])
        table = pa.concat_tables([tables[shard] for shard in order]).combine_chunks()
        return cls(root, read_classes(root / CLASSES), [paths[shard] for shard in order], begins, table)

    def __len__(self) -> int:
        return int(self.begins[-1])

    @functools.cached_property
    def digests(self) -> memoryview:
        """SHA-256 of each image's bytes, 64 hexadecimal digits each."""
        # Strings of equal length are contiguous in Arrow's buffer, so no Python object per image is needed.
        column = pa.concat_arrays(self.table["sha256"].chunks)
        return memoryview(column.buffers()[2])[64 * column.offset :][: 64 * len(self)]

    @functools.cached_property
    def contents(self) -> bytes:
        """SHA-256 of each image's bytes, 32 bytes each."""
        return binascii.unhexlify(self.digests)

    def contents_of(self, shard: int) -> bytes:
        """Returns the part of `contents` of one shard."""
        return self.contents[32 * self.begins[shard] : 32 * self.begins[shard + 1]]

    def labels(self) -> npt.NDArray[np.int32]:
        """Returns each image's class index, [n] int32.

        Raises:
            UserError: If a label is not in the class map.
        """
        found = pc.index_in(self.table["label"], strings(self.classes))
        if found.null_count:
            raise UserError(f"{self.root / CLASSES} lacks a class of the images: run the ingest stage again")
        return whole_numbers(found).astype(np.int32)

    def splits(self) -> npt.NDArray[np.int8]:
        """Returns each image's split in the source, [n] int8, as its position in `SPLITS`; `LEFT_OUT` if none."""
        found = pc.index_in(self.table["split"], strings(SPLITS))
        splits = np.full(len(self), LEFT_OUT, np.int8)
        splits[valid(found)] = whole_numbers(found.drop_null())
        return splits

    def groups(self, balance_all: bool = False) -> Groups:
        """Returns the groups of images that stay together.

        Args:
            balance_all: Whether to balance all groups, and not only the source's.
        """
        column = self.table["group"]
        having = valid(column)
        named = dict(zip(having.tolist(), column.take(integers(having)).to_pylist(), strict=True))
        near = read_near(self.root / NEAR)
        ids: Sequence[str] = self.table["id"].to_pylist() if named or near or balance_all else []
        places = {identity: place for place, identity in enumerate(ids) if identity in near} if near else {}
        return group_images(ids, self.digests, named, near, places, balance_all)


def content_key(contents: bytes) -> str:
    """Returns a digest of a sequence of contents, as part of a cache key."""
    return hashlib.sha256(contents).hexdigest()[:24]
