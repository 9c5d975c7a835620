"""What the cache holds, for a person."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from sightline.stages.preprocess.cache import Entry, PixelCache

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def lines(cache: PixelCache) -> list[str]:
    """Returns a line for each transform (or kind of copies) whose shards the cache holds, those used last first."""
    entries = cache.entries()
    if not entries:
        return [f"{cache.root} is empty"]
    kinds: dict[str, list[Entry]] = {}
    for entry in entries:
        kinds.setdefault(entry.key.lstrip(".").partition("-")[0], []).append(entry)
    said = [f"{'transform':18}{'shards':>8}{'size':>12}  last used"]
    said += [_line(kind, of) for kind, of in kinds.items()]
    return [*said, _line("all", entries)]


def _line(kind: str, of: Sequence[Entry]) -> str:
    used = datetime.fromtimestamp(max(entry.used for entry in of), UTC).astimezone().strftime("%Y-%m-%d %H:%M")
    return f"{kind:18}{len(of):>8,}{size(sum(entry.bytes for entry in of)):>12}  {used}"


def size(number: int) -> str:
    """Returns a number of bytes as a person reads it.

    >>> size(3 * 2**20)
    '3.0 MiB'
    """
    value, unit = float(number), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.1f} {_UNITS[unit]}" if unit else f"{number} B"
