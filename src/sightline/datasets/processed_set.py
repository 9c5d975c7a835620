"""The processed set, from preprocessing to training, evaluation and export: fixed-size pixels in memory-mapped shards.

A processed set is a folder with `shard-<digest>.npy` files (uint8, [rows, height, width, channels]), an
`index.parquet` that describes each row, the class map and the preprocessing transform.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sightline.core import files
from sightline.core.errors import UserError, fault
from sightline.datasets import pixel_shard
from sightline.datasets.raw_set import CLASSES, read_classes

INDEX = "index.parquet"
TRANSFORM = "contract.json"
UNKNOWN = "unknown"

INDEX_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("label", pa.int32(), nullable=False),  # index into the class map
        pa.field("split", pa.string(), nullable=False),
        pa.field("shard", pa.string(), nullable=False),  # file name
        pa.field("row", pa.int32(), nullable=False),
        pa.field("origin", pa.string(), nullable=False),  # id of the raw image; differs from id in augmented copies
        pa.field("sha256", pa.string(), nullable=False),  # of the raw image's encoded bytes
    ]
)

Images = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Split:
    """The rows of one split, in order of id.

    Attributes:
        ids: [n] sample ids.
        labels: [n] int64 class indices.
    """

    ids: list[str]
    labels: npt.NDArray[np.int64]
    _origin: tuple[Path, str]
    _maps: list[Images]
    _shard: npt.NDArray[np.int64]
    _row: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of every image."""
        height, width, channels = self._maps[0].shape[1:]
        return height, width, channels

    def __reduce__(self) -> tuple[Any, ...]:
        # A data loader's process opens the shards itself: pickling a memory map would copy its content.
        return open_split, self._origin

    def images(self, positions: Sequence[int] | npt.NDArray[np.int64] | slice = slice(None)) -> Images:
        """Gathers images into memory.

        Args:
            positions: Places in this split, in any order.

        Returns:
            [n, height, width, channels] uint8, a copy.
        """
        shard, row = self._shard[positions], self._row[positions]
        used = np.unique(shard)
        if len(used) == 1:
            return np.ascontiguousarray(self._maps[used[0]][row])
        out = np.empty((len(row), *self._maps[0].shape[1:]), np.uint8)
        for number in used:
            here = shard == number
            out[here] = self._maps[number][row[here]]
        return out


class ProcessedSet:
    """A folder written by the preprocess stage, opened as memory maps.

    Attributes:
        root: The folder.
        classes: Class names in order of index.
        index: The index as an Arrow table (`INDEX_SCHEMA`), sorted by id.
        shape: (height, width, channels) of every image.

    Raises:
        UserError: If a file is missing or damaged.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        try:
            self.classes = read_classes(root / CLASSES)
            self.index = pq.read_table(root / INDEX)
            self._names = sorted(set(self.index["shard"].to_pylist()))
            self._maps = [np.load(root / name, mmap_mode="r") for name in self._names]
        except FileNotFoundError as error:
            raise UserError(f"{error.filename or root / INDEX} is missing: run the preprocess stage") from None
        except (OSError, ValueError, EOFError) as error:
            damage = str(error).splitlines()[0]
            raise fault(error) or UserError(f"{root} is damaged ({damage}): run the preprocess stage again") from None
        height, width, channels = self._maps[0].shape[1:]
        self.shape: tuple[int, int, int] = (height, width, channels)

    @property
    def transform(self) -> Path:
        """The preprocessing transform that made this set (JSON)."""
        return self.root / TRANSFORM

    @property
    def statistics(self) -> tuple[list[float], list[float]]:
        """Per-channel mean and standard deviation of the training split, in 0..1, as stored in the transform."""
        stated = json.loads(self.transform.read_text())["statistics"]
        return stated["mean"], stated["std"]

    @property
    def digest(self) -> str:
        """SHA-256 of the whole set: of its index, which names shards by content, the class map and the transform."""
        parts = [files.sha256_file(self.root / name) for name in (INDEX, CLASSES, TRANSFORM)]
        return files.sha256("".join(parts).encode())

    def split_digest(self, name: str) -> str:
        """SHA-256 of the raw images of one split and their labels, independent of preprocessing."""
        table = self.index.filter(pc.equal(self.index["split"], name))
        rows = zip(*(table[column].to_pylist() for column in ("id", "label", "sha256")), strict=True)
        return files.sha256(json.dumps([self.classes, *rows]).encode())

    def split(self, name: str) -> Split:
        """Returns the rows of the split "train", "val" or "test"; it may be empty.

        Raises:
            UserError: If a shard with images of this split has changed since it was written.
        """
        table = self.index.filter(pc.equal(self.index["split"], name))
        for shard in pc.unique(table["shard"]).to_pylist():
            pixel_shard.require_intact_shard(self.root / shard)
        number = {shard: i for i, shard in enumerate(self._names)}
        return Split(
            ids=table["id"].to_pylist(),
            labels=table["label"].to_numpy().astype(np.int64),
            _origin=(self.root, name),
            _maps=self._maps,
            _shard=np.array([number[s] for s in table["shard"].to_pylist()], np.int64),
            _row=table["row"].to_numpy().astype(np.int64),
        )

    @property
    def unknown(self) -> ProcessedSet | None:
        """The set of images that show none of the classes, in the folder `unknown` next to this set or in it, or None.

        Its split "val" is the half that may set a threshold or be trained on, "test" the half for evaluation; labels
        have no meaning.
        """
        places = (self.root.parent / UNKNOWN, self.root / UNKNOWN)
        return next((ProcessedSet(place) for place in places if (place / INDEX).is_file()), None)

    def originals(self, name: str) -> npt.NDArray[np.int64]:
        """Returns the positions in a split of its original images, without augmented copies."""
        table = self.index.filter(pc.equal(self.index["split"], name))
        return np.flatnonzero(pc.equal(table["id"], table["origin"]).to_numpy()).astype(np.int64)


def open_split(root: Path, name: str) -> Split:
    """Opens one split of the processed set in `root`."""
    return ProcessedSet(root).split(name)
