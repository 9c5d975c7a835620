"""The DVC cache of a project, located and read without importing DVC, which takes half a second."""

from __future__ import annotations

import configparser
import json
import os
from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(".dvc")


def caches(dvc: Path = FOLDER) -> Iterator[Path]:
    """Yields possible locations of a project's cache: the default one, then those configured by user and project.

    Args:
        dvc: The folder `.dvc` of the project.
    """
    yield dvc / "cache"
    personal = Path(os.environ.get("DVC_GLOBAL_CONFIG_DIR") or os.path.expanduser("~/.config/dvc"))  # noqa: PTH111 - no home, no error
    for file in (personal / "config", dvc / "config", dvc / "config.local"):
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        try:
            parser.read(file, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError):  # DVC itself reports it
            continue
        if place := parser.get("cache", "dir", fallback=None):
            yield file.parent / os.path.expanduser(place.strip("'\""))  # noqa: PTH111


def cached_path(digest: str, dvc: Path = FOLDER) -> Path | None:
    """Returns the cached file for a digest; for a folder's digest, the list of its files. None if it is not cached."""
    places = (cache / "files" / "md5" / digest[:2] / digest[2:] for cache in caches(dvc))
    return next((place for place in places if place.is_file()), None)


def listing(digest: str, dvc: Path = FOLDER) -> dict[str, str] | None:
    """Returns the digests of a folder's files by relative path, from DVC's list of them; None if it is not cached."""
    place = cached_path(digest, dvc)
    return None if place is None else {item["relpath"]: item["md5"] for item in json.loads(place.read_bytes())}


def holds(digest: str, dvc: Path = FOLDER) -> bool:
    """Returns whether the cache has the content for a digest; for a folder, all of its files."""
    if not digest.endswith(".dir"):
        return cached_path(digest, dvc) is not None
    files = listing(digest, dvc)
    return files is not None and all(cached_path(file, dvc) for file in set(files.values()))
