"""A folder with one folder a class."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sightline.errors import UserError
from sightline.ingest import tree
from sightline.ingest.layout import Layout
from sightline.names import readable
from sightline.reasons import Rejected
from sightline.records import ImageRecord, Rejection
from sightline.sample import sample


class FolderSource:
    """Every file below a root is an input: an image, or a row in the list of what was refused.

    Args:
        root: Holds `class/**/image` or `{train,val,test}/class/**/image`.
        max_bytes: A larger file is refused without being read.
        limit: At most so many files, an even sample of all.
    """

    def __init__(self, root: Path, max_bytes: int, limit: int | None = None) -> None:
        self._root = root
        self._max_bytes = max_bytes
        self._limit = limit

    def fingerprint(self, deep: bool = False) -> dict[str, Any]:
        self._require()
        return tree.fingerprint(self._root, deep)

    def records(self) -> Iterator[ImageRecord | Rejection]:
        self._require()
        layout = Layout.of(entry.path for entry in tree.walk(self._root) if entry.fault is None)
        for entry in sample(tree.walk(self._root), self._limit, key=lambda entry: entry.path):
            identity, label, split = layout.place(readable(entry.path))
            try:
                if entry.fault:
                    raise entry.fault
                data = tree.read(f"{self._root}/{entry.path}", self._max_bytes)
            except Rejected as fault:
                yield Rejection(identity, fault.reason, fault.detail)
            else:
                yield ImageRecord(identity, data, label, split)

    def _require(self) -> None:
        if not self._root.is_dir():
            raise UserError(f"ingest.path: {self._root} is no folder; name the one that holds a folder a class")
