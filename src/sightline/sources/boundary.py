"""The boundary of a folder of images: which of its links may be followed."""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path

from sightline.core import dvc_cache

_CONTENT = re.compile(r"(files/md5/)?[0-9a-f]{2}/[0-9a-f]{30}")
"""The name of a file in DVC's cache: a digest of its content, so nobody can choose the target of a link to it."""


class Boundary:
    """The content of a folder: its files, and those that DVC keeps in a cache and has linked into it.

    With DVC's `cache.type symlink` every file of a tracked folder is a link to its content in the cache of a project
    above the folder, or of the project that the command runs in.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self.real = os.path.realpath(root)
        self._root = root

    def holds(self, target: str) -> bool:
        """Returns whether a path, which must not contain links, is inside."""
        if os.path.commonpath([target, self.real]) == self.real:
            return True
        return any(
            target.startswith(f"{cache}/") and _CONTENT.fullmatch(target[len(cache) + 1 :]) for cache in self._caches
        )

    @functools.cached_property
    def _caches(self) -> list[str]:
        """The folders of DVC's caches, looked up when a link first leads out of the folder."""
        above = (self._root.absolute(), Path(self.real), Path.cwd())
        projects = dict.fromkeys(folder for start in above for folder in (start, *start.parents))
        caches = (
            cache for folder in projects if (folder / ".dvc").is_dir() for cache in dvc_cache.caches(folder / ".dvc")
        )
        return list(dict.fromkeys(os.path.realpath(cache) for cache in caches))
