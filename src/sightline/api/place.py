"""The location of a result: a folder that is named by a digest of its content, and never changes."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sightline.core import files

RUNS = Path("sightline-runs")
"""Default working folder, below the working directory."""
_PREFIX, _SUFFIX = ".result.", ".tmp"


@dataclass
class Place:
    """The folder in which a result is made, and later its final folder.

    Attributes:
        path: Inside the block of `new_place`, a folder to create and fill; afterwards, the result's folder.
    """

    path: Path


@contextlib.contextmanager
def new_place(folder: str | Path | None, kind: str) -> Iterator[Place]:
    """Yields a place to write a result to; when the block ends without an error, it is named `<kind>-<digest>`.

    Equal results thus share one folder, and none is ever replaced: results returned earlier never change.

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
    """Returns the digest of a result's files; shards are already named by their content."""
    written = sorted(path for path in folder.rglob("*") if path.is_file())
    parts = [(str(p.relative_to(folder)), "" if p.name.startswith("shard-") else files.sha256_file(p)) for p in written]
    return files.sha256(json.dumps(parts).encode())
