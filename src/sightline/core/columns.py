"""Columns of text for a terminal: tables and lines, wrapped at words where they are too wide."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from collections.abc import Collection, Sequence

GAP = "  "
_NARROWEST = 8


def terminal_width() -> int | None:
    """Returns the width of the terminal in characters; None if standard output is not a terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def folded(line: str, width: int | None) -> str:
    """Returns a line wrapped to at most `width` characters, with continuation lines indented to its last column.

    Only a single word longer than that exceeds the width. Columns are separated by two or more spaces.

    >>> print(folded("colour  red, green and blue", 20))
    colour  red, green
            and blue
    """
    if width is None or len(line) <= width:
        return line
    if "\n" in line:
        return "\n".join(folded(part, width) for part in line.split("\n"))
    starts = [gap.end() for gap in re.finditer(r"(?<=\S) {2,}", line) if gap.end() <= width * 2 // 3]
    start = starts[-1] if starts else len(line) - len(line.lstrip())
    return "\n".join(_wrapped(line[start:], width, line[:start], " " * (start if starts else start + 2)))


def table(
    rows: Sequence[Sequence[str]], width: int | None = None, right: Collection[int] = (), indent: str = ""
) -> list[str]:
    """Returns the lines of a table, with cells wrapped at words if the table is wider than the terminal.

    Args:
        rows: Its rows, all with the same number of cells.
        width: Characters in a line; None wraps nothing.
        right: Indices of the columns that are right-aligned.
        indent: Text at the beginning of each line.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if width is not None:
        room = width - len(indent) - len(GAP) * (len(widths) - 1)
        while sum(widths) > room and max(widths) > _NARROWEST:
            widths[widths.index(max(widths))] -= 1
    lines = []
    for row in rows:
        cells = [_wrapped(cell, size, whole=False) or [""] for cell, size in zip(row, widths, strict=True)]
        for number in range(max(map(len, cells))):
            parts = [cell[number] if number < len(cell) else "" for cell in cells]
            placed = (
                part.rjust(size) if column in right else part.ljust(size)
                for column, (part, size) in enumerate(zip(parts, widths, strict=True))
            )
            lines.append(f"{indent}{GAP.join(placed)}".rstrip())
    return lines


def _wrapped(text: str, width: int, first: str = "", further: str = "", whole: bool = True) -> list[str]:
    """Wraps text at words; `whole` says whether a word longer than the line stays in one piece."""
    return textwrap.wrap(
        text,
        max(width, 1),
        initial_indent=first,
        subsequent_indent=further,
        break_long_words=not whole,
        break_on_hyphens=False,
    )
