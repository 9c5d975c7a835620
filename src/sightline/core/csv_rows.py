"""Rows of CSV (RFC 4180, with Unix line endings) that read back as written, whatever a cell contains."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from typing import TextIO


def row_writer(stream: TextIO) -> Callable[[Sequence[object]], object]:
    """Returns a function that writes a row.

    The standard library's writer does not quote a carriage return unless lines end with one, yet its reader ends the
    row there: a row that contains one is therefore quoted as a whole.
    """
    plain = csv.writer(stream, lineterminator="\n")
    quoted = csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_ALL)

    def write(cells: Sequence[object]) -> object:
        holds_return = any(isinstance(cell, str) and "\r" in cell for cell in cells)
        return (quoted if holds_return else plain).writerow(cells)

    return write
