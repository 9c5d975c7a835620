"""A zip or tar of a folder of images, read entry by entry: nothing is unpacked to disk, and no entry is trusted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from sightline.config.schema import require
from sightline.core.errors import UserError
from sightline.core.rejection import RejectionError, RejectionReason
from sightline.core.sampling import sample
from sightline.core.text import is_litter
from sightline.datasets.raw_set import ImageRecord, Rejection
from sightline.sources.archives import Member, UnpackBudget, open_archive
from sightline.sources.base import SOURCES, Source, SourceConfig
from sightline.sources.content import NO_MEMORY, ContentMemory
from sightline.sources.file import SourceFile, source_file
from sightline.sources.layout import Layout, Place
from sightline.sources.layout_rules import AUTO, LayoutRules
from sightline.sources.tree_option import TreeOption

_FREE_BYTES = 2**30
"""An archive that unpacks to no more than this is not a bomb, whatever its ratio."""

_REMEDY = "raise ingest.source.max_ratio if you trust it"


@SOURCES.register("archive")
@dataclass
class ArchiveOption(TreeOption):
    """A zip or tar (.gz, .xz, .zst) of a folder with one folder per class; read without unpacking it to disk.

    Attributes:
        path: The archive.
        url: The URL of the archive, instead of `path`.
        max_entries: An archive with more entries is refused.
        max_ratio: An archive may unpack to this many times its size, or to 1 GiB if that is more.
    """

    max_entries: int
    max_ratio: int

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.max_entries >= 1, f"max_entries: must be at least 1, not {self.max_entries}")
        require(self.max_ratio >= 1, f"max_ratio: must be at least 1, not {self.max_ratio}")

    def open(self, config: SourceConfig) -> Source:
        file = source_file(self.path, self.url)
        return ArchiveSource(file, config.max_bytes, self.max_entries, self.max_ratio, config.limit, self.rules(config))


class ArchiveSource:
    """Every file in an archive is an input; hostile entries are rejected one by one.

    Args:
        file: The archive.
        max_bytes: Larger entries are rejected without being unpacked.
        max_entries: An archive with more entries is refused.
        max_ratio: An archive may unpack to this many times its size, or to 1 GiB if that is more.
        limit: Maximum number of entries, sampled evenly from all; None for all.
        rules: Rules for reading the folder tree in the archive.

    Attributes:
        notes: Human-readable notes on how the tree was read; complete once all records have been read.
    """

    def __init__(
        self,
        file: SourceFile,
        max_bytes: int,
        max_entries: int,
        max_ratio: int,
        limit: int | None = None,
        rules: LayoutRules = AUTO,
    ) -> None:
        self.notes: list[str] = []
        self._rules = rules
        self._file = file
        self._max_bytes = max_bytes
        self._max_entries = max_entries
        self._max_ratio = max_ratio
        self._limit = limit

    def fingerprint(self, memory: ContentMemory = NO_MEMORY) -> dict[str, Any]:
        return self._file.fingerprint(memory)

    def records(self) -> Iterator[ImageRecord | Rejection]:
        layout = self._layout()
        chosen = None
        if self._limit is not None:

            def place_of(member: Member) -> Place:
                return layout.place(member.path)

            members = sample(
                self._members(), self._limit, lambda m: place_of(m).id, lambda m: place_of(m).label, self.notes
            )
            chosen = {member.path for member in members}
        for member in self._members():
            if chosen is not None and member.path not in chosen:
                continue
            place = layout.place(member.path)
            try:
                if member.fault:
                    raise member.fault
                if place.label is None:
                    raise RejectionError(RejectionReason.NO_LABEL, place.fault)
                data = member.read()
            except RejectionError as fault:
                yield Rejection(member.path if member.fault else place.id, fault.reason, fault.detail)
            else:
                yield ImageRecord(place.id, data, place.label, place.split, place.group)

    def _layout(self) -> Layout:
        named: set[str] = set()
        filled: set[str] = set()

        def files() -> Iterator[str]:
            for member in self._members(named):
                filled.add(member.path.rpartition("/")[0])
                if member.fault is None:
                    yield member.path

        layout, self.notes = self._rules.read(files())
        for folder in tuple(filled):
            filled.update(str(above) for above in PurePosixPath(folder).parents)
        self.notes += layout.lost((folder for folder in named - filled if not is_litter(folder)), "empty")
        return layout

    def _members(self, folders: set[str] | None = None) -> Iterator[Member]:
        budget = UnpackBudget(max(_FREE_BYTES, self._max_ratio * self._file.size()), _REMEDY)
        with self._file.open() as stream:
            members = open_archive(stream, self._file.name, self._max_bytes, budget, folders)
            for count, member in enumerate(members, 1):
                if count > self._max_entries:
                    raise UserError(
                        f"{self._file.name}: more than {self._max_entries:,} entries; raise ingest.source.max_entries "
                        "if you trust it"
                    )
                if not is_litter(member.path):
                    yield member
