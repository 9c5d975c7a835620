"""A sample that does not depend on order: the same records whatever came first."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def sample(items: Iterable[T], limit: int | None, key: Callable[[T], str]) -> Iterator[T]:
    """Yields `items`, or an even sample of `limit` of them, sorted by key: those whose key's hash is smallest.

    Memory holds `limit` items.
    """
    if limit is None:
        yield from items
        return
    yield from sorted(heapq.nsmallest(limit, items, key=lambda item: _draw(key(item))), key=key)


def sample_filter(ids: Iterable[str], limit: int | None) -> Callable[[str], bool]:
    """Returns what says of an id whether it is in the sample, for sources that read from start to end."""
    if limit is None:
        return lambda _: True
    return set(sample(ids, limit, key=str)).__contains__


def _draw(key: str) -> bytes:
    return hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=8, person=b"sample").digest()
