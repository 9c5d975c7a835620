"""The raw set, from ingestion to preprocessing: image records, and the Parquet shards that hold them.

Sharding depends on content: records are sorted by id, a hash of a record decides whether a shard ends there
(content-defined chunking), and a shard is named by the digest of its content. A set's shards are thus a pure function
of the set: built at once or grown image by image, in any order of arrival, the files are the same, and adding an image
changes only one or two of them.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sightline.core import files
from sightline.core.errors import UserError
from sightline.core.rejection import RejectionReason
from sightline.datasets import raw_shard_file

if TYPE_CHECKING:
    import pyarrow as pa

# PyArrow is imported where files are read or written: sources need only the records, and `watch` runs every time.

SPLITS = ("train", "val", "test")
CLASSES = "classes.json"
REJECTED = "rejected.parquet"
NEAR = "near.parquet"
SUMMARY = "ingest.json"
FORMER_LABELS = "former_labels.json"
SHARD_GLOB = "shard-*.parquet"

TARGET_ROWS = 1024
TARGET_BYTES = 16 * 2**20


@functools.cache
def rejected_schema() -> pa.Schema:
    """Returns the Arrow schema of `rejected.parquet`."""
    import pyarrow as pa

    return pa.schema([("id", pa.string()), ("reason", pa.string()), ("detail", pa.string())])


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One labelled image as a source gives it.

    Attributes:
        id: Unique in the set and stable over time; the set is sorted by it (by code point).
        data: The encoded file (JPEG, PNG, ...), unchanged.
        label: The class name; None if the source has none, in which case the record is rejected.
        split: "train", "val" or "test" if the source defines splits.
        group: Records of one group (a patient, a film) are kept in the same split.
        path: Its path in the source, for messages.
    """

    id: str
    data: bytes
    label: str | None
    split: str | None = None
    group: str | None = None
    path: str | None = None


@dataclass(frozen=True, slots=True)
class Rejection:
    """An input that did not become an image.

    Attributes:
        id: The input's id, or another name to find it by.
        reason: One of the closed list.
        detail: One human-readable line.
    """

    id: str
    reason: RejectionReason
    detail: str = ""


class RawImage(NamedTuple):
    """A row of a raw shard: a checked record. `width` and `height` are in pixels, as displayed."""

    id: str
    data: bytes
    label: str
    split: str | None
    group: str | None
    path: str | None
    sha256: str
    format: str
    width: int
    height: int

    def ends_shard(self) -> bool:
        """Returns whether a shard ends with this row: a pure function of the row's id and size.

        A row ends its shard with probability 1/TARGET_ROWS, or size/TARGET_BYTES if that is larger, so that shards
        have a bounded expected size for photographs and thumbnails alike.
        """
        draw = int.from_bytes(hashlib.blake2b(self.id.encode(), digest_size=8, person=b"shard").digest(), "big")
        return draw < max(1 / TARGET_ROWS, len(self.data) / TARGET_BYTES) * 2**64


@dataclass(frozen=True, slots=True)
class RawShard:
    """A Parquet file of raw images. `digest` names its content (16 hexadecimal digits)."""

    path: Path

    @property
    def digest(self) -> str:
        return self.path.stem.removeprefix("shard-")

    def images(self, batch_size: int = 256) -> Iterator[RawImage]:
        """Yields the rows in order of id, reading `batch_size` rows at a time.

        Raises:
            UserError: If the shard is missing or damaged.
        """
        count = raw_shard_file.read_columns(self.path).num_rows
        with raw_shard_file.open_parquet(self.path) as file:
            for batch in file.iter_batches(batch_size=batch_size):
                for row in batch.to_pylist():
                    image = row.pop("image")
                    if files.sha256(image["bytes"]) != row["sha256"]:
                        raise ValueError(f"the bytes of {row['id']!r} have changed since they were written")
                    count -= 1
                    yield RawImage(data=image["bytes"], path=image["path"], **row)
            if count:
                raise ValueError("rows are missing")


def raw_shards(root: Path) -> list[RawShard]:
    """Returns the raw shards in `root`, in order of name (a digest of the content: any fixed order will do)."""
    return [RawShard(path) for path in sorted(root.glob(SHARD_GLOB))]


def write_raw_shards(images: Iterable[RawImage], root: Path) -> list[RawShard]:
    """Writes images, which must be sorted by id, as content-defined Parquet shards into `root`.

    Memory holds one shard at a time.

    Raises:
            ValueError: If the images are not sorted by id, or an id is repeated.
    """
    shards: list[RawShard] = []
    rows: list[RawImage] = []
    previous: str | None = None
    for image in images:
        if previous is not None and image.id <= previous:
            raise ValueError(f"images must be sorted by unique id: {image.id!r} came after {previous!r}")
        previous = image.id
        rows.append(image)
        if image.ends_shard():
            shards.append(_write_shard(rows, root))
            rows = []
    if rows:
        shards.append(_write_shard(rows, root))
    return shards


def _write_shard(rows: list[RawImage], root: Path) -> RawShard:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from sightline.datasets.arrow_columns import binaries, integers, strings

    schema = raw_shard_file.shard_schema()
    columns = dict(zip(RawImage._fields, zip(*rows, strict=True), strict=True))
    arrays: dict[str, pa.Array] = {name: strings(columns[name]) for name in raw_shard_file.TEXTS}
    arrays |= {name: integers(np.array(columns[name])) for name in raw_shard_file.NUMBERS}
    image = [binaries(columns["data"]), strings(columns["path"])]
    arrays["image"] = pa.StructArray.from_arrays(image, fields=list(schema.field("image").type))
    table = pa.table([arrays[name] for name in schema.names], schema=schema)
    path = root / f"shard-{raw_shard_file.digest_of(table)}.parquet"
    # Encoded images do not compress; small row groups let a reader hold a few hundred rows instead of the shard.
    pq.write_table(
        table,
        path,
        compression="none",
        row_group_size=256,
        use_dictionary=["label", "split", "format"],
        write_page_checksum=True,
    )
    return RawShard(path)


def write_rejected(rejections: Iterable[Rejection], path: Path) -> None:
    """Writes rejections as Parquet, sorted by id, reason and detail."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from sightline.datasets.arrow_columns import strings

    rows = sorted((r.id, str(r.reason), r.detail) for r in rejections)
    arrays = [strings(column) for column in (zip(*rows, strict=True) if rows else ([], [], []))]
    pq.write_table(pa.table(arrays, schema=rejected_schema()), path)


def read_rejected(root: Path) -> list[Rejection]:
    """Returns the rejections of a raw set, as `write_rejected` sorted them.

    Raises:
        UserError: If the file is missing.
    """
    import pyarrow.parquet as pq

    path = root / REJECTED
    if not path.is_file():
        raise UserError(f"{path} is missing: run the ingest stage (dvc repro ingest)")
    rows = pq.read_table(path, schema=rejected_schema()).to_pylist()
    return [Rejection(row["id"], RejectionReason(row["reason"]), row["detail"]) for row in rows]


def write_near(members: Iterable[tuple[str, str]], path: Path) -> None:
    """Writes (id, name of its group) of the images that have near duplicates; of identical images only one."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from sightline.datasets.arrow_columns import strings

    columns = list(zip(*members, strict=True)) or [(), ()]
    table = pa.table({n: strings(c) for n, c in zip(("id", "group"), columns, strict=True)})
    pq.write_table(table, path, write_page_checksum=True)


def read_near(path: Path) -> dict[str, str]:
    """Returns the near-duplicate group of every image in the file.

    Raises:
        UserError: If it is missing or damaged.
    """
    with raw_shard_file.open_parquet(path) as file:
        table = file.read()  # `read_table` would import all of Arrow, and pandas
        return dict(zip(table["id"].to_pylist(), table["group"].to_pylist(), strict=True))


def write_classes(classes: list[str], path: Path) -> None:
    """Writes the class map: the sorted class names; a class's index is its position in the list."""
    files.write_json(path, {"classes": sorted(classes)})


def read_classes(path: Path) -> list[str]:
    """Returns the class names in order of index."""
    classes = json.loads(path.read_text())["classes"]
    if classes != sorted(set(classes)):
        raise ValueError(f"{path}: class names must be sorted and unique; run the ingest stage again")
    return list(classes)
