"""Images whose pixels are the cells of a table, as in Kaggle's MNIST: `label,pixel0,...,pixel783`."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from sightline.core.rejection import RejectionError, RejectionReason
from sightline.imaging import png

EVERY = "*"
"""Stands for all columns that no other setting names."""


class PixelCells:
    """Encoder of images from the pixel levels in a row.

    Args:
        column: The column whose cell holds all levels, as a list or as text separated by spaces or commas; `*` if each
            column that no other setting names holds one level.
        shape: Height, width and, for colour, 3; empty for a grey square.
        named: The columns that other settings name.
    """

    def __init__(self, column: str, shape: list[int], named: Collection[str]) -> None:
        self._column = column
        self._shape = tuple(shape)
        self._named = named

    def image(self, row: dict[str, Any]) -> bytes:
        """Returns the image as PNG.

        Raises:
            RejectionError: If the cells do not form such an image.
        """
        if self._column == EVERY:
            cells: Iterable[Any] = (cell for name, cell in row.items() if name not in self._named)
        else:
            cell = row.get(self._column)
            cells = cell.replace(",", " ").split() if isinstance(cell, str) else _flat(cell)
        levels = _levels(list(cells))
        shape = self._shape or (math.isqrt(len(levels)),) * 2
        if not levels or math.prod(shape) != len(levels):
            wanted = " x ".join(map(str, self._shape)) if self._shape else "a square"
            raise RejectionError(
                RejectionReason.CORRUPT, f"{len(levels):,} pixels instead of {wanted}; see ingest.source.pixel_shape"
            )
        return png.encode(levels, shape[0], shape[1], shape[2] if len(shape) == 3 else 1)


def _flat(cell: Any) -> Iterator[Any]:
    """Yields the numbers of a list, or of a list of rows."""
    if isinstance(cell, list):
        for inner in cell:
            yield from _flat(inner)
    else:
        yield cell


def _levels(cells: list[Any]) -> bytes:
    if set(map(type, cells)) <= {str, int}:  # the usual case, ten times as fast
        with contextlib.suppress(ValueError):
            return bytes(map(int, cells))
    return bytes(map(_level, cells))


def _level(cell: Any) -> int:
    try:
        level = int(float(cell))
        if 0 <= level <= 255 and level == float(cell):
            return level
    except (TypeError, ValueError, OverflowError):
        pass
    raise RejectionError(RejectionReason.CORRUPT, f"a pixel is {str(cell)[:20]!r}, not an integer from 0 to 255")
