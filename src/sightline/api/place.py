"""The place of a result: a folder that is named by what is in it, and never changes."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sightline.core import files

RUNS = Path("sightline-runs")
"""Working folder where none is named, below the working directory."""
_PREFIX, _SUFFIX = ".result.", ".tmp"


@dataclass
class Place:
    """The place where a result is made, and the one where it is in the end.

    Attributes:
        path: While the block of `new_place` runs, a folder to fill, which does not exist yet; then the result's.
    """

    path: Path


@contextlib.contextmanager
def new_place(folder: str | Path | None, kind: str) -> Iterator[Place]:
    """Yields a place to write a result to; when the block ends without an error, it is named `<kind>-<digest>`.

    Equal results thus have one folder, and none is ever replaced: what was returned earlier stays what it was.

    Args:
        folder: The working folder; None for `RUNS`.
        kind: The kind of result, in a word.
    """
    root = RUNS if folder is None else Path(folder).expanduser()
    root.mkdir(parents=True, exist_ok=True)
    for left in root.glob(f"{_PREFIX}*{_SUFFIX}"):
        files.remove_abandoned(left)
    with files.temporary_folder(_PREFIX, _SUFFIX, root) as temporary:
        place = Place(temporary / kind)
        yield place
        final = root / f"{kind}-{_digest(place.path)[:12]}"
        if not final.exists():
            place.path.rename(final)
        place.path = final


def _digest(folder: Path) -> str:
    """Digests a result's files; shards of sets are named by their content."""
    written = sorted(path for path in folder.rglob("*") if path.is_file())
    parts = [(str(p.relative_to(folder)), "" if p.name.startswith("shard-") else files.sha256_file(p)) for p in written]
    return files.sha256(json.dumps(parts).encode())
