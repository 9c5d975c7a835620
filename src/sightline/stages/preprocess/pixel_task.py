"""The task that turns a raw shard into pixels: a pure function, the same in every process and on every machine."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sightline.core.rejection import RejectionError
from sightline.datasets.raw_shard_file import damaged_error, open_parquet
from sightline.imaging.decode import ANY_SIZE
from sightline.imaging.transform.pipeline import Transform
from sightline.stages.preprocess.npy_writer import PixelWriter
from sightline.stages.preprocess.tasks import ShardSummary


@dataclass(frozen=True)
class CachedPixels:
    """Where a raw image's pixels, by the same transform, stand already: a row of a file of pixels."""

    path: Path
    row: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class PixelTask:
    """Runs the transform over a raw shard.

    Attributes:
        transform: The transform as plain data.
        contents: SHA-256 of each of the shard's images, 32 bytes each, in order.
        known: By place, images that need no work.
    """

    transform: dict[str, Any]
    contents: bytes
    known: Mapping[int, CachedPixels] = field(default_factory=dict)

    def write(self, source: Path, out: Path) -> ShardSummary:
        """Writes the pixels of the raw shard `source` to `out`."""
        transform = Transform.from_dict(self.transform)
        refused: dict[str, list[int]] = {}
        notes: dict[str, list[int]] = {}
        opened: dict[Path, Any] = {}
        place = -1
        with PixelWriter(out, transform.shape) as writer:
            for place, (batch, row) in enumerate(_images(source)):
                known = self.known.get(place)
                if known and known.path not in opened:
                    try:
                        opened[known.path] = np.asarray(np.load(known.path, mmap_mode="r"))
                    except FileNotFoundError:  # another run has pruned it
                        opened[known.path] = None
                if known and opened[known.path] is not None:
                    result, said = opened[known.path][known.row], list(known.notes)
                else:
                    data = batch[row].as_py()
                    if hashlib.sha256(data).digest() != self.contents[32 * place : 32 * place + 32]:
                        raise damaged_error(source, f"the bytes of image {place} are not those that were written")
                    try:
                        result, said = transform.run(transform.open(data, ANY_SIZE))
                    except RejectionError as rejection:  # the transform may refuse blank images
                        refused.setdefault(str(rejection.reason), []).append(place)
                        continue
                for note in said:
                    notes.setdefault(note, []).append(place)
                writer.add(result)
            if 32 * (place + 1) != len(self.contents):
                raise damaged_error(source, "rows are missing")
        return ShardSummary(writer.file, writer.sums, self.contents, refused, notes)


def encoded(shard: Path) -> Iterator[bytes]:
    """Yields the encoded images of a raw shard, in order."""
    return (batch[row].as_py() for batch, row in _images(shard))


def _images(shard: Path) -> Iterator[tuple[Any, int]]:
    """Yields where in Arrow's memory each image is: an array, and a place there. Not all are wanted as bytes."""
    with open_parquet(shard) as file:
        for batch in file.iter_batches(batch_size=256, columns=["image.bytes"]):
            column = batch.column("image").field("bytes")
            for row in range(len(column)):
                yield column, row
