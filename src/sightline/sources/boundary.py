"""The boundary of a folder of images: which links in it may be followed."""

from __future__ import annotations

import configparser
import functools
import os
import re
from collections.abc import Iterator
from pathlib import Path

_CONTENT = re.compile(r"(files/md5/)?[0-9a-f]{2}/[0-9a-f]{30}")
"""What DVC calls a file in its cache: by its content, so that nobody chooses what a link there leads to."""


class Boundary:
    """What lies inside a folder: its files, and those that DVC keeps in a cache and has linked into it.

    With DVC's `cache.type symlink` every file of a tracked folder is a link to its content in the cache, which is that
    of a project above the folder, or of the project that the command runs in.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self.real = os.path.realpath(root)
        self._root = root

    def holds(self, target: str) -> bool:
        """Says whether a path without links lies inside."""
        if os.path.commonpath([target, self.real]) == self.real:
            return True
        return any(
            target.startswith(f"{cache}/") and _CONTENT.fullmatch(target[len(cache) + 1 :]) for cache in self._caches
        )

    @functools.cached_property
    def _caches(self) -> list[str]:
        """The folders of DVC's caches, read when the first link leads out."""
        above = (self._root.absolute(), Path(self.real), Path.cwd())
        projects = dict.fromkeys(folder for start in above for folder in (start, *start.parents))
        caches = (cache for folder in projects if (folder / ".dvc").is_dir() for cache in _cache_of(folder / ".dvc"))
        return list(dict.fromkeys(os.path.realpath(cache) for cache in caches))


def _cache_of(dvc: Path) -> Iterator[Path]:
    """Yields where a project's cache is: as its configuration says, the user's own, or by default."""
    yield dvc / "cache"
    personal = Path(os.environ.get("DVC_GLOBAL_CONFIG_DIR") or os.path.expanduser("~/.config/dvc"))  # noqa: PTH111 - no home, no error
    for file in (personal / "config", dvc / "config", dvc / "config.local"):
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        try:
            parser.read(file, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError):  # DVC itself says so; links there are refused by name
            continue
        if place := parser.get("cache", "dir", fallback=None):
            yield file.parent / os.path.expanduser(place.strip("'\""))  # noqa: PTH111
