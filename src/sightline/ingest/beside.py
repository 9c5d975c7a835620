"""The files that a table names: in a folder on disk, or behind a URL."""

from __future__ import annotations

import hashlib
import os
import posixpath
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from sightline import remote
from sightline.ingest import tree
from sightline.ingest.layout import IMAGE_SUFFIXES
from sightline.names import is_litter, readable
from sightline.progress import track
from sightline.reasons import Reason, Rejected


class Beside(Protocol):
    """Reads files by the paths that a table gives."""

    def place(self, path: str) -> str:
        """Returns a path relative to the root, in one spelling.

        Raises:
            Rejected: If it leads out of the root.
        """
        ...

    def read(self, path: str) -> bytes:
        """Returns the content at a placed path, or raises Rejected."""
        ...

    def unlisted(self, listed: set[str]) -> Iterator[str]:
        """Yields the image files that lie in one folder with a listed one, and are not listed."""
        ...

    def fingerprint(self, paths: Iterable[str]) -> dict[str, Any]:
        """Returns what changes when one of these files does, or one comes to lie beside them, cheaply."""
        ...


class LocalBeside:
    """Files below a folder on disk."""

    def __init__(self, root: Path, max_bytes: int) -> None:
        self._root = root
        self._real = os.path.realpath(root)
        self._max_bytes = max_bytes

    def place(self, path: str) -> str:
        try:
            real = os.path.realpath(self._root / path)
        except ValueError:  # a NUL
            raise Rejected(Reason.UNSAFE_ENTRY, "a name that no file can have") from None
        if os.path.commonpath([real, self._real]) != self._real:
            raise Rejected(Reason.UNSAFE_ENTRY, f"leads out of {self._root}; set ingest.source.root to a folder above")
        return Path(os.path.relpath(real, self._real)).as_posix()

    def read(self, path: str) -> bytes:
        file = self._root / path
        if file.exists() and not file.is_file():
            raise Rejected(Reason.UNREADABLE, "not a file")
        return tree.read(file, self._max_bytes)

    def unlisted(self, listed: set[str]) -> Iterator[str]:
        for entry in self._images({posixpath.dirname(path) for path in listed}):
            path = readable(Path(entry.path).relative_to(self._root).as_posix())
            if path not in listed:
                yield path

    def fingerprint(self, paths: Iterable[str]) -> dict[str, Any]:
        digest = hashlib.sha256()
        for entry in track(self._images({posixpath.dirname(path) for path in paths}), "watching"):
            status, path = entry.stat(), Path(entry.path).relative_to(self._root).as_posix()
            digest.update(f"{readable(path)}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
        return {"images": digest.hexdigest()}

    def _images(self, folders: set[str]) -> Iterator[os.DirEntry[str]]:
        for folder in sorted(folders):
            if not (self._root / folder).is_dir():
                continue
            with os.scandir(self._root / folder) as found:
                for entry in sorted(found, key=lambda entry: entry.name):
                    if is_litter(entry.name):
                        continue
                    if PurePosixPath(entry.name).suffix.lower() in IMAGE_SUFFIXES and entry.is_file():
                        yield entry


class RemoteBeside:
    """Files below a URL. Those that are not listed stay unknown: a service may hold millions."""

    def __init__(self, url: str, max_bytes: int) -> None:
        self._url = url.rstrip("/")
        self._max_bytes = max_bytes

    def place(self, path: str) -> str:
        placed = posixpath.normpath(path)
        if placed.startswith(("/", "..")) or "://" in path:
            raise Rejected(Reason.UNSAFE_ENTRY, f"leads out of {remote.location(self._url)}")
        return placed

    def read(self, path: str) -> bytes:
        with remote.explained(self._url):
            fs, root = remote.filesystem(self._url)
            try:
                size = fs.info(f"{root}/{path}").get("size")
                if size is not None and size > self._max_bytes:
                    raise Rejected(Reason.TOO_MANY_BYTES, f"{size:,} bytes, allowed {self._max_bytes:,}")
                return bytes(fs.cat_file(f"{root}/{path}"))
            except FileNotFoundError:
                raise Rejected(Reason.MISSING, "no such file") from None

    def unlisted(self, listed: set[str]) -> Iterator[str]:  # noqa: ARG002 - see the class
        return iter(())

    def fingerprint(self, paths: Iterable[str]) -> dict[str, Any]:
        digest = hashlib.sha256()
        with remote.explained(self._url):
            fs, root = remote.filesystem(self._url)

            def say(path: str) -> str:
                try:
                    return repr(remote.state(fs.info(f"{root}/{path}")))
                except FileNotFoundError:
                    return "missing"

            wanted = sorted(set(paths))
            for said in track(remote.ahead(say, wanted), "watching", len(wanted)):
                digest.update(f"{said}\n".encode())
        return {"images": digest.hexdigest()}


def beside(root: str, max_bytes: int) -> Beside:
    """Returns what reads files below a folder or a URL."""
    return RemoteBeside(root, max_bytes) if "://" in root else LocalBeside(Path(root), max_bytes)
