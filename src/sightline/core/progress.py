"""Progress for whoever waits longer than two seconds at a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress

T = TypeVar("T")

_PATIENCE = 2.0  # seconds
_EVERY = 0.1  # seconds between two pictures


def track(
    items: Iterable[T], what: str, total: float | None = None, unit: str = "images", each: float = 1
) -> Iterator[T]:
    """Yields `items`, and shows count and speed on a terminal once it has taken more than two seconds.

    Args:
        items: What is worked on.
        what: The work, in a word.
        total: Of the units, where known.
        unit: What is counted.
        each: How many of them an item is.
    """
    if not sys.stderr.isatty():
        yield from items
        return
    started = drawn = time.monotonic()
    shown: Progress | None = None
    count = 0
    try:
        for count, item in enumerate(items, 1):
            yield item
            now = time.monotonic()
            if now - drawn > (_EVERY if shown else _PATIENCE):
                drawn = now
                shown = shown or _bar(what, total, unit)
                done = count * each
                shown.update(shown.task_ids[0], completed=done, speed=f"{done / (now - started):,.0f}", refresh=True)
    finally:
        if shown:
            shown.update(shown.task_ids[0], completed=count * each, refresh=True)
            shown.stop()


def _bar(what: str, total: float | None, unit: str) -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f}" + (f" of {total:,.0f}" if total else "")),
        TextColumn(f"{{task.fields[speed]}} {unit}/s"),
        TimeElapsedColumn() if total is None else TimeRemainingColumn(),
        console=Console(stderr=True),
        auto_refresh=False,
    )
    progress.add_task(what, total=total, speed="")
    progress.start()
    return progress
