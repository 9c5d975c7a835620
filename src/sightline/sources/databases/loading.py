"""Loading a folder or archive of images into a database, to try it as a source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from sightline.core.errors import UserError
from sightline.core.progress import track
from sightline.datasets.raw_set import ImageRecord, Rejection
from sightline.imaging.image_file import Limits
from sightline.sources.archive import ArchiveSource
from sightline.sources.databases.writeback import load_images
from sightline.sources.file import LocalFile
from sightline.sources.folder import FolderSource
from sightline.sources.layout_rules import AUTO, LayoutRules

MAX_ENTRIES = 2_000_000
MAX_RATIO = 100

_UNPACK = "unpack it, and name the folder, if you trust it"
_IN_COMMAND = {
    "++ingest.source_options.class_depth=": "--class-depth ",
    "++ingest.source_options.layout=": "--layout ",
    "where their names tell the class, set ingest.class_from.pattern, where a list does, ingest.source=table; ": "",
    "raise ingest.source.max_entries if you trust it": _UNPACK,
    "raise ingest.source.max_ratio if you trust it": _UNPACK,
}
"""Remedies worded for the configuration, and their replacements for the command."""


def fill_database(
    path: Path, url: str | None, table: str, gridfs: bool = False, rules: LayoutRules = AUTO
) -> tuple[int, list[Rejection], list[str]]:
    """Writes the labelled images of a folder or archive to a database; repeating it, even after a crash, is safe.

    Args:
        path: A folder with one folder per class, or an archive of one.
        url: The database, without a password; None takes it from the environment.
        table: Table, collection or GridFS bucket.
        gridfs: Whether to use GridFS (MongoDB).
        rules: Rules for reading the folder tree.

    Returns:
        The number of images written, the rejected inputs, and notes on how the tree was read.

    Raises:
        UserError: If the folder or the database cannot be used.
    """
    if not path.exists():  # checked before the database is created
        raise UserError(f"SOURCE: cannot read {path}: no such file or folder")
    limits = Limits()
    source = (
        FolderSource(path, limits.max_bytes, rules=rules)
        if path.is_dir()
        else ArchiveSource(LocalFile(path, "SOURCE"), limits.max_bytes, MAX_ENTRIES, MAX_RATIO, rules=rules)
    )
    rejected: list[Rejection] = []

    def images() -> Iterator[ImageRecord]:
        for record in track(source.records(), "loading"):
            if isinstance(record, Rejection):
                rejected.append(replace(record, detail=_as_options(record.detail)))
            else:
                yield record

    try:
        return load_images(images(), url, table, gridfs), rejected, [_as_options(note) for note in source.notes]
    except UserError as error:
        raise UserError(_as_options(str(error))) from None


def _as_options(line: str) -> str:
    """Replaces the configuration's keys in a line by the command's options."""
    for setting, option in _IN_COMMAND.items():
        line = line.replace(setting, option)
    return line
