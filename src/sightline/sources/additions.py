"""Images that were labelled in this project, read in addition to any source: one folder per class."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sightline.core import dvc_files
from sightline.datasets.raw_set import ImageRecord, Rejection
from sightline.sources.base import Source, SourceWithNotes
from sightline.sources.content import NO_MEMORY, ContentMemory
from sightline.sources.folder import FolderSource
from sightline.sources.layout_rules import LayoutRules

_RULES = LayoutRules("classes")


class SourceWithAdditions:
    """A source, followed by the images of a folder, whose ids begin with the folder's name.

    Args:
        source: The source.
        folder: The folder, with images at `class/image`.
        max_bytes: Larger files are rejected without being read.
    """

    def __init__(self, source: Source, folder: Path, max_bytes: int) -> None:
        self._source = source
        self._folder = folder
        self._added = FolderSource(folder, max_bytes, rules=_RULES)

    @property
    def notes(self) -> list[str]:
        """Human-readable notes of both; complete once all records have been read."""
        return [*(self._source.notes if isinstance(self._source, SourceWithNotes) else []), *self._added.notes]

    def fingerprint(self, memory: ContentMemory = NO_MEMORY) -> dict[str, Any]:
        """Returns the source's fingerprint; for the folder's see `additions_fingerprint`."""
        return self._source.fingerprint(memory)

    def records(self) -> Iterator[ImageRecord | Rejection]:
        yield from self._source.records()
        for record in self._added.records():
            yield dataclasses.replace(record, id=f"{self._folder.name}/{record.id}")


def holds_images(folder: Path | None) -> bool:
    """Returns whether there is a folder of additions with a class in it, or one that DVC tracks but has not pulled."""
    if folder is None:
        return False
    if folder.is_dir():
        return any(path.is_dir() for path in folder.iterdir())
    tracked = dvc_files.tracked(folder)
    return tracked is not None and tracked.path == folder


def with_additions(source: Source, folder: Path | None, max_bytes: int) -> Source:
    """Returns the source with the additions, if there are any."""
    return SourceWithAdditions(source, folder, max_bytes) if folder is not None and holds_images(folder) else source


def additions_fingerprint(
    folder: Path | None, max_bytes: int, memory: ContentMemory = NO_MEMORY
) -> dict[str, Any] | None:
    """Returns a fingerprint that changes when the additions do; None if there are none."""
    if folder is None or not holds_images(folder):
        return None
    return FolderSource(folder, max_bytes, rules=_RULES).fingerprint(memory)
