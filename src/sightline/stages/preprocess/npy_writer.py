"""Writer of pixel files (`.npy`, uint8 [rows, height, width, channels]), image by image in constant memory."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from sightline.datasets.pixel_shard import PixelFile, shard_digest

Image = npt.NDArray[np.uint8]
Sums = npt.NDArray[np.int64]
"""[rows, channels, 2]: sum of an image's levels in each channel, and sum of their squares. As integers, totals are
exact in any order of addition."""

_BUFFER = 2**18


class PixelWriter:
    """Writes a new file of pixels. At the end of the `with` block it is on disk, described by `file` and `sums`.

    Args:
        path: Must not exist: DVC links its cache into the workspace, where nothing may be written in place.
        shape: [H, W, C] of every image.
    """

    file: PixelFile
    sums: Sums

    def __init__(self, path: Path, shape: tuple[int, int, int]) -> None:
        self._path = path
        self._shape = shape
        self._buffer = np.empty((max(1, _BUFFER // int(np.prod(shape))), *shape), np.uint8)
        self._held = self._rows = 0
        self._sums: list[Sums] = []
        self._hash = hashlib.sha256()

    def __enter__(self) -> PixelWriter:
        self._stream = self._path.open("xb")
        self._header = self._write_header()
        return self

    def add(self, image: Image) -> None:
        """Appends one image."""
        self._buffer[self._held] = image
        self._held += 1
        if self._held == len(self._buffer):
            self._flush()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stream:
            if error is not None:
                return
            self._flush()
            shape = (self._rows, *self._shape)
            self._stream.seek(0)
            if self._write_header() != self._header:
                raise AssertionError("NumPy leaves room in a header for the first axis to grow")
            self._stream.flush()
            os.fsync(self._stream.fileno())
        self.file = PixelFile(shape, shard_digest(self._hash.digest(), shape))
        self.sums = np.concatenate([*self._sums, np.empty((0, self._shape[2], 2), np.int64)])

    def _write_header(self) -> int:
        header: dict[str, Any] = {"descr": "|u1", "fortran_order": False, "shape": (self._rows, *self._shape)}
        npy.write_array_header_1_0(self._stream, header)
        return self._stream.tell()

    def _flush(self) -> None:
        if not self._held:
            return
        images = self._buffer[: self._held]
        # Channel by channel, since NumPy sums short strides slowly. Below 2^53, sums of integers are exact in floats.
        planes = images.reshape(self._held, -1, self._shape[2]).transpose(0, 2, 1).astype(np.float64, order="C")
        totals = np.stack([planes.sum(axis=2), np.einsum("ncp,ncp->nc", planes, planes)], axis=2)
        self._sums.append(totals.astype(np.int64))
        self._stream.write(images.data)
        self._hash.update(images.data)
        self._rows += self._held
        self._held = 0
