"""Human-readable summary of the cache."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from sightline.core.text import readable_size
from sightline.stages.preprocess.cache import CacheEntry, PixelCache


def cache_lines(cache: PixelCache) -> list[str]:
    """Returns a line for each transform, and one for copies, in the cache; the most recently used come first."""
    entries = cache.entries()
    if not entries:
        return [f"{cache.root} is empty"]
    kinds: dict[str, list[CacheEntry]] = {}
    for entry in entries:
        kinds.setdefault(entry.key.lstrip(".").partition("-")[0], []).append(entry)
    rows = [f"{'transform':18}{'shards':>8}{'size':>12}  last used"]
    rows += [_line(kind, of) for kind, of in kinds.items()]
    return [*rows, _line("all", entries)]


def _line(kind: str, of: Sequence[CacheEntry]) -> str:
    used = datetime.fromtimestamp(max(entry.used for entry in of), UTC).astimezone().strftime("%Y-%m-%d %H:%M")
    return f"{kind:18}{len(of):>8,}{readable_size(sum(entry.bytes for entry in of), binary=True):>12}  {used}"
