"""Progress for whoever waits longer than two seconds at a terminal."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Iterator
from typing import TextIO, TypeVar

T = TypeVar("T")

_PATIENCE = 2.0  # seconds
_FORM = "{l_bar}{bar}| {n:,.0f} of {total:,.0f} [{elapsed}<{remaining}, {rate_noinv_fmt}]"
_FORM_WITHOUT_TOTAL = "{desc}: {n:,.0f} [{elapsed}, {rate_noinv_fmt}]"


def track(
    items: Iterable[T], what: str, total: float | None = None, unit: str = "images", each: float = 1
) -> Iterator[T]:
    """Yields `items`, and shows count and speed on a terminal once it has taken more than two seconds.

    Args:
        items: The work.
        what: Its name, in a word.
        total: Of the units, where known.
        unit: What is counted.
        each: How many of them an item is.
    """
    if not sys.stderr.isatty():
        yield from items
        return
    from tqdm import tqdm  # here: most runs have no terminal

    tqdm.monitor_interval = 0  # no thread of its own, which a process that forks must not have
    size = shutil.get_terminal_size()  # some terminals say that they have none, and tqdm would show nothing there
    with tqdm(
        desc=what,
        total=total,
        file=sys.stderr,
        unit=f" {unit}",
        delay=_PATIENCE,
        bar_format=_FORM_WITHOUT_TOTAL if total is None else _FORM,
        ncols=size.columns,
        nrows=size.lines,
    ) as bar:
        for item in items:
            yield item
            bar.update(each if total is None else min(each, total - bar.n))  # the last may be less than a whole one


def write_line(line: str, stream: TextIO) -> None:
    """Writes a line to standard output or standard error, above a progress bar that is being shown, Lightning's too."""
    if "tqdm" in sys.modules:  # else there is no bar
        from tqdm import tqdm

        tqdm.write(line, file=stream)
    else:
        print(line, file=stream)
    stream.flush()
