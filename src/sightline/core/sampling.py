"""A sample that does not depend on order: the same records whatever came first."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Iterable, Iterator
from operator import itemgetter
from typing import TypeVar

T = TypeVar("T")


def sample(
    items: Iterable[T],
    limit: int | None,
    key: Callable[[T], str],
    label: Callable[[T], str | None] = lambda _: None,
    notes: list[str] | None = None,
) -> Iterator[T]:
    """Yields `items`, or an even sample of `limit` of them, sorted by key.

    Each class gives its share of them, one at least where the limit allows: those whose key's hash is smallest. So a
    set that grows keeps nearly all of its sample. Memory holds `limit` items a class.

    Args:
        items: The things to sample from.
        limit: At most so many; None for all.
        key: Gives each item's name; no two alike.
        label: Its class, where that is known.
        notes: Gets a line if some are left out.
    """
    if limit is None:
        yield from items
        return
    kept: dict[str | None, list[tuple[int, int, T]]] = {}
    counts: dict[str | None, int] = {}
    total = 0
    for total, item in enumerate(items, 1):
        name = label(item)
        counts[name] = counts.get(name, 0) + 1
        smallest = kept.setdefault(name, [])
        entry = (-_draw(key(item)), -total, item)  # the heap's first is the largest draw, and goes first
        (heapq.heappush if len(smallest) < limit else heapq.heappushpop)(smallest, entry)
    ranked = [
        (rank / counts[name], -draw, item)
        for name, smallest in kept.items()
        for rank, (draw, _, item) in enumerate(sorted(smallest, key=lambda entry: -entry[0]))
    ]
    chosen = heapq.nsmallest(limit, ranked, key=lambda entry: entry[:2])
    if notes is not None and len(chosen) < total:
        of_what = f" from each of {len(counts):,} classes" if set(counts) - {None} else ""
        notes.append(f"ingest.limit: {len(chosen):,} of {total:,} inputs, sampled evenly{of_what}")
    yield from sorted((item for *_, item in chosen), key=key)


def sample_filter(
    labelled: Iterable[tuple[str, str | None]], limit: int | None, notes: list[str] | None = None
) -> Callable[[str], bool]:
    """Returns what says of an id whether it is in the sample, for sources that read from start to end.

    Args:
        labelled: Every id, with its class where that is known; not asked for where there is no limit.
        limit: At most so many; None for all.
        notes: Gets a line if some are left out.
    """
    if limit is None:
        return lambda _: True
    return {key for key, _ in sample(labelled, limit, itemgetter(0), itemgetter(1), notes)}.__contains__


def _draw(key: str) -> int:
    name = key.encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.blake2b(name, digest_size=8, person=b"sample").digest(), "big")
