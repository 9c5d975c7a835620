"""Images that show none of the classes, read in addition to any source: a folder or archive of any structure."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from sightline.core.errors import UserError
from sightline.core.project import located
from sightline.sources import content
from sightline.sources.archive import ArchiveSource
from sightline.sources.base import Source
from sightline.sources.file import LocalFile
from sightline.sources.folder import FolderSource
from sightline.sources.layout import Layout
from sightline.sources.layout_rules import LayoutRules

KNOB = "ingest.unknown"
_MAX_ENTRIES, _MAX_RATIO = 2_000_000, 100  # as in conf/ingest/source/archive.yaml


class UnknownConfig(Protocol):
    """The part of the configuration with the locations of images."""

    @property
    def path(self) -> str | None: ...
    @property
    def additions(self) -> str | None: ...
    @property
    def unknown(self) -> str | None: ...
    @property
    def max_bytes(self) -> int: ...


class _AnyPlace(LayoutRules):
    """Every file is an image, wherever it is; folders have no meaning."""

    def read(self, paths: Iterable[str], folders: Iterable[str] = ()) -> tuple[Layout, list[str]]:  # noqa: ARG002
        return Layout(class_depth=0), []


def unknown_source(config: UnknownConfig) -> Source | None:
    """Returns the source of images that show none of the classes, with empty labels; None if not configured.

    Raises:
        UserError: If they are in a folder whose images have classes, or do not exist.
    """
    if config.unknown is None:
        return None
    path = located(config.unknown)
    for knob, other in (("path", config.path), ("additions", config.additions)):
        if other is not None and "://" not in other and _inside(path, located(other)):
            raise UserError(
                f"{KNOB}: {config.unknown} lies in ingest.{knob}, whose folders are classes: move it out of {other}"
            )
    if path.is_file():
        return ArchiveSource(LocalFile(path, KNOB), config.max_bytes, _MAX_ENTRIES, _MAX_RATIO, rules=_AnyPlace())
    if not path.is_dir() and content.is_here(path):
        remedy = content.how_to_get(path) or "name a folder or an archive of images, or set it to null"
        raise UserError(f"{KNOB}: there is no {config.unknown}; {remedy}")
    return FolderSource(path, config.max_bytes, rules=_AnyPlace())


def _inside(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())
