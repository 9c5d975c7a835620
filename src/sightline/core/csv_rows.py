"""Rows of CSV (RFC 4180, lines ended as on Unix) that read back as they were written, whatever a cell holds."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from typing import TextIO


def row_writer(stream: TextIO) -> Callable[[Sequence[object]], object]:
    """Returns a function that writes a row.

    The standard library's writer quotes a carriage return only where lines end with one, and its reader ends the row
    there all the same: a row that holds one is quoted as a whole.
    """
    plain = csv.writer(stream, lineterminator="\n")
    quoted = csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_ALL)

    def write(cells: Sequence[object]) -> object:
        holds_return = any(isinstance(cell, str) and "\r" in cell for cell in cells)
        return (quoted if holds_return else plain).writerow(cells)

    return write
