"""Conversion between Arrow arrays, Python strings and NumPy numbers.

Arrow's own `array` and `to_numpy` import pandas if it is installed: 0.2 s and 36 MB, in a stage that takes a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def strings(values: Sequence[str | None]) -> pa.StringArray:
    """Returns an array of strings; None becomes null."""
    encoded = [b"" if value is None else value.encode() for value in values]
    present = [value is not None for value in values]
    valid = None if all(present) else _buffer(np.packbits(present, bitorder="little"))
    return pa.Array.from_buffers(pa.string(), len(encoded), [valid, *_ends_and_bytes(encoded)])


def binaries(values: Sequence[bytes]) -> pa.BinaryArray:
    """Returns an array of bytes, without nulls."""
    return pa.Array.from_buffers(pa.binary(), len(values), [None, *_ends_and_bytes(values)])


def _ends_and_bytes(values: Sequence[bytes]) -> tuple[pa.Buffer, pa.Buffer]:
    """Returns the 32-bit offsets of the values and their concatenated bytes; raises ValueError above 2 GiB."""
    ends = np.cumsum([0, *map(len, values)], dtype=np.int64)
    return integers(ends).buffers()[1], pa.py_buffer(b"".join(values))


def integers(values: npt.NDArray[Any]) -> pa.Int32Array:
    """Returns integers, [n], as int32; raises ValueError if any does not fit."""
    short = values.astype(np.int32)
    if not np.array_equal(short, values):
        raise ValueError("numbers of more than 32 bits")
    return pa.Array.from_buffers(pa.int32(), len(short), [None, _buffer(short)])


def whole_numbers(column: pa.Array | pa.ChunkedArray) -> npt.NDArray[Any]:
    """Returns a column of integers without nulls as a read-only array."""
    whole = _whole(column)
    kind = np.dtype(str(whole.type))
    return np.frombuffer(whole.buffers()[1], kind)[whole.offset :][: len(whole)] if len(whole) else np.empty(0, kind)


def valid(column: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """Returns the positions of non-null values."""
    whole = _whole(column)
    if not whole.null_count:
        return np.arange(len(whole))
    bits = np.unpackbits(np.frombuffer(whole.buffers()[0], np.uint8), bitorder="little")
    return np.flatnonzero(bits[whole.offset :][: len(whole)])


def _whole(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _buffer(array: npt.NDArray[Any]) -> pa.Buffer:
    return pa.py_buffer(np.ascontiguousarray(array))
