"""A folder with one folder per class."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sightline.core.errors import UserError
from sightline.core.rejection import RejectionError, RejectionReason
from sightline.core.sampling import sample
from sightline.core.text import readable
from sightline.datasets.raw_set import ImageRecord, Rejection
from sightline.sources import content, tree
from sightline.sources.base import SOURCES, Source, SourceConfig
from sightline.sources.content import NO_MEMORY, ContentMemory
from sightline.sources.layout import Layout, Place
from sightline.sources.layout_rules import AUTO, LayoutRules
from sightline.sources.remote_folder import RemoteFolderSource
from sightline.sources.tree_option import TreeOption


@SOURCES.register("folder")
@dataclass
class FolderOption(TreeOption):
    """A folder with one folder per class: `root/class/**/image` or `root/{train,val,test}/class/**/image`.

    Attributes:
        path: The root.
        url: The root as a URL that fsspec supports (`s3://bucket/birds`), instead of `path`.
    """

    def open(self, config: SourceConfig) -> Source:
        if self.url is not None:
            return RemoteFolderSource(self.url, config.max_bytes, config.limit, self.rules(config))
        return FolderSource(Path(self.path or ""), config.max_bytes, config.limit, self.rules(config))


class FolderSource:
    """Every file below a root is an input: it becomes an image, or a row in the list of rejections.

    Args:
        root: The root, with images at `class/**/image` or `{train,val,test}/class/**/image`.
        max_bytes: Larger files are rejected without being read.
        limit: Maximum number of files, sampled evenly from all; None for all.
        rules: Rules for reading the folder tree.

    Attributes:
        notes: Human-readable notes on how the tree was read; complete once all records have been read.
    """

    def __init__(self, root: Path, max_bytes: int, limit: int | None = None, rules: LayoutRules = AUTO) -> None:
        self.notes: list[str] = []
        self._rules = rules
        self._root = root
        self._max_bytes = max_bytes
        self._limit = limit

    def fingerprint(self, memory: ContentMemory = NO_MEMORY) -> dict[str, Any]:
        if content.is_here(self._root):
            self._require()
        return content.fingerprint(self._root, memory)

    def records(self) -> Iterator[ImageRecord | Rejection]:
        self._require()
        layout = self._layout()

        def place_of(entry: tree.TreeEntry) -> Place:
            return layout.place(readable(entry.path))

        for entry in sample(
            tree.walk(self._root, stamped=False),
            self._limit,
            lambda e: place_of(e).id,
            lambda e: place_of(e).label,
            self.notes,
        ):
            place = place_of(entry)
            try:
                if entry.fault:
                    raise entry.fault
                if place.label is None:
                    raise RejectionError(RejectionReason.NO_LABEL, place.fault)
                data = tree.read_file(f"{self._root}/{entry.path}", self._max_bytes)
            except RejectionError as fault:
                yield Rejection(place.id, fault.reason, fault.detail)
            else:
                yield ImageRecord(place.id, data, place.label, place.split, place.group)

    def _layout(self) -> Layout:
        links: list[str] = []
        empty: list[str] = []

        def files() -> Iterator[str]:
            for entry in tree.walk(self._root, empty=True, stamped=False):
                if entry.folder:
                    (links if entry.fault else empty).append(readable(entry.path))
                elif entry.fault is None:
                    yield readable(entry.path)

        layout, self.notes = self._rules.read(files(), links)
        self.notes += layout.lost(links, "a link; put the folder itself there") + layout.lost(empty, "empty")
        return layout

    def _require(self) -> None:
        if self._root.is_file():
            raise UserError(f"ingest.path: {self._root} is a file; set ingest.source=archive if it is a zip or tar")
        if not self._root.is_dir():
            remedy = content.how_to_get(self._root) or "name the one that holds a folder per class"
            raise UserError(f"ingest.path: {self._root} is not a folder; {remedy}")
