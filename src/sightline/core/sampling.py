"""An order-independent sample: the same records are chosen in whatever order they come."""

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

    Each class contributes in proportion to its size, and at least one item if the limit allows: the items whose key has
    the smallest hash. A growing set thus keeps nearly all of its sample. Memory holds up to `limit` items per class.

    Args:
        items: The items to sample from.
        limit: Maximum number of items; None for all.
        key: Returns an item's unique name.
        label: Returns its class, or None if that is unknown.
        notes: A line is appended to it if items are left out.
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
        entry = (-_draw(key(item)), -total, item)  # the heap's first is the largest draw, which is dropped first
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
    """Returns a predicate for ids that are in the sample, for sources that read from start to end.

    Args:
        labelled: Every id, with its class if known; not consumed if there is no limit.
        limit: Maximum number of ids; None for all.
        notes: A line is appended to it if ids are left out.
    """
    if limit is None:
        return lambda _: True
    return {key for key, _ in sample(labelled, limit, itemgetter(0), itemgetter(1), notes)}.__contains__


def _draw(key: str) -> int:
    name = key.encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.blake2b(name, digest_size=8, person=b"sample").digest(), "big")
