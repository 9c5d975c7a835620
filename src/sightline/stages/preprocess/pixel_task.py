"""The task that turns a raw shard into pixels: a pure function with the same result in every process and machine."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sightline.core.rejection import RejectionError
from sightline.datasets.raw_shard_file import damaged_error, open_parquet
from sightline.imaging.image_file import ANY_SIZE
from sightline.imaging.transform.pipeline import Transform
from sightline.stages.preprocess.npy_writer import PixelWriter
from sightline.stages.preprocess.tasks import ShardSummary, Task


@dataclass(frozen=True)
class CachedPixels:
    """Location of a raw image's pixels from an earlier run of the same transform: a row of a file of pixels."""

    path: Path
    row: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class PixelTask(Task):
    """Runs the transform over a raw shard.

    Attributes:
        transform: The transform as plain data.
        contents: SHA-256 of each of the shard's images, 32 bytes each, in order.
        cached: By position in the shard, the images that are cached already.
    """

    transform: dict[str, Any]
    contents: bytes
    cached: Mapping[int, CachedPixels] = field(default_factory=dict)
    kind = "pixels"

    @property
    def images(self) -> int:
        """The number of images that the task processes, including rejected ones."""
        return len(self.contents) // 32

    def write(self, out: Path) -> ShardSummary:
        """Writes the pixels of the raw shard to `out`."""
        transform = Transform.from_dict(self.transform)
        rejected: dict[str, list[int]] = {}
        notes: dict[str, list[int]] = {}
        opened_files = {path: _open(path) for path in {cached.path for cached in self.cached.values()}}
        known = {place: row for place, row in self.cached.items() if opened_files[row.path] is not None}
        place = -1
        with PixelWriter(out, transform.shape) as writer:
            for place, (batch, row) in enumerate(_images(self.source, known)):
                cached = known.get(place)
                if cached:
                    result, image_notes = opened_files[cached.path][cached.row], list(cached.notes)
                else:
                    data = batch[row].as_py()
                    if hashlib.sha256(data).digest() != self.contents[32 * place : 32 * place + 32]:
                        raise damaged_error(
                            self.source, f"the bytes of image {place} have changed since they were written"
                        )
                    try:
                        result, image_notes = transform.run(transform.open(data, ANY_SIZE))
                    except (
                        RejectionError
                    ) as rejection:  # ingestion accepted the image, but the transform may reject blank ones
                        rejected.setdefault(str(rejection.reason), []).append(place)
                        continue
                for note in image_notes:
                    notes.setdefault(note, []).append(place)
                writer.add(result)
            if place + 1 != self.images:
                raise damaged_error(self.source, "rows are missing")
        return ShardSummary(writer.file, writer.sums, self.contents, rejected, notes)


def _open(path: Path) -> Any:
    try:
        return np.asarray(np.load(path, mmap_mode="r"))
    except FileNotFoundError:  # another run has pruned it
        return None


def encoded_images(shard: Path) -> Iterator[bytes]:
    """Yields the encoded images of a raw shard, in order."""
    return (batch[row].as_py() for batch, row in _images(shard))


def _images(shard: Path, known: Container[int] = ()) -> Iterator[tuple[Any, int]]:
    """Yields an Arrow array and a position in it for each image, without converting unneeded ones to bytes.

    Args:
        shard: The file.
        known: Positions of images that are not needed. A row group with no others is not read; its array is None.
    """
    with open_parquet(shard) as file:
        begin = 0
        for group in range(file.num_row_groups):
            end = begin + file.metadata.row_group(group).num_rows
            if all(place in known for place in range(begin, end)):
                yield from ((None, row) for row in range(end - begin))
            else:
                for batch in file.iter_batches(batch_size=256, row_groups=[group], columns=["image.bytes"]):
                    column = batch.column("image").field("bytes")
                    for row in range(len(column)):
                        yield column, row
            begin = end
