"""The files of raw shards: their schema, and the digest of their rows, which names them.

Both are checked when a shard is read. Parquet's own checksums detect flipped bits in its pages, including the images;
the digest detects everything else: rows or columns that are lost because of a damaged header, or a shard under
another's name.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightline.core.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa
    import pyarrow.parquet as pq

# PyArrow is imported where a file is read, as in `raw_set`.

TEXTS = ("id", "label", "split", "group", "sha256", "format")
NUMBERS = ("width", "height")
_COLUMNS = [*TEXTS, *NUMBERS, "image.path"]

# The `Image` feature of Hugging Face `datasets`: the shards load there as images, without configuration.
_HF_FEATURES = {
    "image": {"_type": "Image"},
    **{name: {"dtype": "string", "_type": "Value"} for name in ("id", "label", "split", "group", "sha256", "format")},
    **{name: {"dtype": "int32", "_type": "Value"} for name in ("width", "height")},
}


@functools.cache
def shard_schema() -> pa.Schema:
    """Returns the Arrow schema of a raw shard."""
    import pyarrow as pa

    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())]), nullable=False),
            pa.field("label", pa.string(), nullable=False),
            pa.field("split", pa.string()),
            pa.field("group", pa.string()),
            pa.field("sha256", pa.string(), nullable=False),
            pa.field("format", pa.string(), nullable=False),
            pa.field("width", pa.int32(), nullable=False),
            pa.field("height", pa.int32(), nullable=False),
        ],
        metadata={"huggingface": json.dumps({"info": {"features": _HF_FEATURES}}, sort_keys=True)},
    )


def digest_of(table: pa.Table) -> str:
    """Returns the digest of a raw shard's rows, 16 hexadecimal digits: of everything but the images' bytes.

    Each row contains the digest of its image's bytes, so the shard's digest covers them too.
    """
    import numpy as np

    path = table["image"].combine_chunks().field("path")
    columns = [path, *(table[name].combine_chunks() for name in TEXTS)]
    state = hashlib.sha256(b"".join(part for column in columns for part in _parts(column)))
    for name in NUMBERS:
        column = table[name].combine_chunks()
        numbers = np.frombuffer(column.buffers()[1], f"i{column.type.bit_width // 8}")  # by the buffer, as in `_parts`
        state.update(numbers[column.offset : column.offset + len(column)].astype("<i4").tobytes())
    return state.hexdigest()[:16]


def _parts(texts: Any) -> Iterator[bytes]:
    """Yields the lengths of the strings, -1 for null, then their bytes: as buffers, not as Python objects."""
    import numpy as np
    import pyarrow as pa

    texts = pa.concat_arrays(texts.chunks) if isinstance(texts, pa.ChunkedArray) else texts
    if not len(texts):
        return
    # From the buffers: for scalars and for conversion to NumPy, Arrow imports pandas, which takes a second.
    lengths = np.diff(_ends(texts)).astype("<i4")
    if texts.null_count:
        lengths[np.frombuffer(texts.is_null().cast(pa.uint8()).buffers()[1], np.uint8)[: len(texts)] == 1] = -1
    yield lengths.tobytes()
    present = texts.drop_null()
    if len(present) and present.buffers()[2] is not None:
        yield bytes(memoryview(present.buffers()[2])[_ends(present)[0] : _ends(present)[-1]])


def _ends(texts: pa.Array) -> npt.NDArray[np.int32]:
    """Returns the offset of each string in the array's bytes, and the end of the last."""
    import numpy as np

    return np.frombuffer(texts.buffers()[1], np.int32)[texts.offset : texts.offset + len(texts) + 1]


@contextlib.contextmanager
def open_parquet(shard: Path) -> Iterator[pq.ParquetFile]:
    """Opens a Parquet file with checksum verification. The block must do nothing but read.

    Raises:
        UserError: If it is missing or damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(shard, pre_buffer=False, page_checksum_verification=True) as file:
            yield file
    except FileNotFoundError:
        raise UserError(f"{shard} is missing: run the ingest stage again (dvc repro -f -s ingest)") from None
    except (pa.ArrowException, OSError, LookupError, ValueError) as error:
        raise damaged_error(shard, str(error)) from None


def damaged_error(shard: Path, reason: str) -> UserError:
    """Returns the error for a shard that is not as it was written."""
    detail = " ".join(reason.split())[:100]
    return UserError(f"{shard} is damaged ({detail}): run the ingest stage again (dvc repro -f -s ingest)")


def read_columns(shard: Path) -> pa.Table:
    """Returns all columns of a raw shard but the images, in order of its schema, verified against the shard's name.

    Raises:
        UserError: If it is missing or damaged.
    """
    with open_parquet(shard) as file:
        if not file.schema_arrow.equals(shard_schema()):
            raise ValueError("its columns are not those that ingestion writes")
        table = file.read(_COLUMNS, use_threads=False)
        if digest_of(table) != shard.stem.removeprefix("shard-"):
            raise ValueError("its rows do not match its name")
    return table
