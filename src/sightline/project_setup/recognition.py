"""Recognition of the source that a location or a name refers to."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from sightline.predict.inputs import is_archive
from sightline.sources import SOURCES

_MONGODB = ("mongodb", "mongodb+srv")
TABLES = (".csv", ".tsv", ".tab", ".jsonl", ".ndjson", ".parquet")
_SQL = ("sqlite", "mysql", "mariadb", "postgresql", "postgres")
_SQLITE = b"SQLite format 3\0"
_SUFFIXES = r"(?i)([.][a-z][a-z0-9]{1,7})+$"
_TORCHVISION = {
    "MNIST/raw": "MNIST",
    "FashionMNIST/raw": "FashionMNIST",
    "KMNIST/raw": "KMNIST",
    "cifar-10-batches-py": "CIFAR10",
    "cifar-100-python": "CIFAR100",
    "stl10_binary": "STL10",
    "flowers-102": "Flowers102",
    "eurosat": "EuroSAT",
}
"""Folders that torchvision puts its sets in, and the name of each set's class."""


def set_name(source: str) -> str:
    """Returns what a person would call the set at a place: the name of its folder, file or database.

    >>> set_name("/data/birds/"), set_name("birds-2.tar.gz"), set_name("mysql://me:secret@host/birds?charset=utf8")
    ('birds', 'birds-2', 'birds')
    """
    scheme, separator, rest = source.partition("://")
    path = Path(urlsplit(f"//{rest}").path) if separator else Path(source).expanduser().absolute()
    name = path.name if path.is_dir() else re.sub(_SUFFIXES, "", path.name)
    return name or scheme


def source_knobs(source: str | os.PathLike[str]) -> dict[str, Any]:
    """Returns the knobs `source` and `path` or `url` of the ingest section.

    Args:
        source: A source's name ("digits", "idx"), which comes before a folder of that name (`./digits`); or a folder,
            an archive, a list of images (CSV, Parquet ...), or a URL of one of these or of a database.
    """
    text = os.fspath(source)
    if text in SOURCES and isinstance(source, str):
        return {"source": text}
    scheme, separator, _ = text.partition("://")
    if separator and not Path(text).exists():
        family = scheme.lower().partition("+")[0]
        kind = "mongodb" if scheme.lower() in _MONGODB else "sql" if family in _SQL else _file_kind(text.split("?")[0])
        return {"source": kind or "folder", "url": text}
    path = Path(text).expanduser()
    if not path.is_dir():
        if _begins_with(path, _SQLITE):
            return {"source": "sql", "url": f"sqlite:///{path.absolute()}"}
        return {"source": _file_kind(str(path)) or "folder", "path": str(path)}  # without a slash at the end
    for folder, dataset in _TORCHVISION.items():
        if (path / folder).is_dir():
            return {"source": "torchvision", "path": str(path), "source_options": {"dataset": dataset}}
    return {"source": _folder_kind(path) or "folder", "path": str(path)}


def _file_kind(name: str) -> str | None:
    return "archive" if is_archive(name) else "table" if PurePosixPath(name).suffix.lower() in TABLES else None


def _folder_kind(folder: Path) -> str | None:
    """Tells sets in files of their own from a folder with a folder per class."""
    if next(folder.glob("*-ubyte*"), None):
        return "idx"
    saved = any((folder / name).is_file() for name in ("dataset_dict.json", "dataset_info.json", "state.json"))
    return "huggingface" if saved or next(folder.glob("*.parquet"), None) else None


def _begins_with(path: Path, mark: bytes) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(len(mark)) == mark
    except OSError:  # whoever reads it says what is wrong with it
        return False
