"""The files that a table names: in a folder on disk, or at a URL."""

from __future__ import annotations

import os
import posixpath
import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Protocol
from urllib.parse import unquote

from sightline.core.errors import is_shortage
from sightline.core.lookahead import map_ahead
from sightline.core.progress import track
from sightline.core.rejection import RejectionError, RejectionReason
from sightline.core.text import composed, is_litter, readable
from sightline.sources import remote, tree
from sightline.sources.boundary import Boundary
from sightline.sources.content import NO_MEMORY, ContentMemory
from sightline.sources.layout import IMAGE_SUFFIXES

_DRIVE = re.compile(r"[A-Za-z]:/|//")
"""The beginning of an absolute Windows path, with forward slashes."""


class TableFiles(Protocol):
    """Reads files by the paths given in a table."""

    def place(self, path: str) -> str:
        """Returns a path relative to the root, spelled like the files there.

        A table may come from another system: with backslashes, in another Unicode form, with `~` or as a URL.

        Raises:
            RejectionError: If it leads out of the root.
        """
        ...

    def read(self, path: str) -> bytes:
        """Returns the content at a path returned by `place`, or raises RejectionError."""
        ...

    def unlisted(self, listed: set[str]) -> Iterator[str]:
        """Yields the image files that are in the same folder as a listed one but are not listed."""
        ...

    def fingerprint(self, paths: Iterable[str], memory: ContentMemory = NO_MEMORY) -> dict[str, Any]:
        """Returns a cheap fingerprint that changes when these files change, or when one is added to their folders."""
        ...


class LocalTableFiles:
    """Files below a folder on disk."""

    def __init__(self, root: Path, max_bytes: int) -> None:
        self._root = root
        self._boundary = Boundary(root)
        self._real = self._boundary.real
        self._max_bytes = max_bytes
        self._spellings: dict[str, dict[str, str]] = {}

    def place(self, path: str) -> str:
        if "://" in path:
            path = _on_disk(path)
        try:
            path = self._spelt(os.path.expanduser(path))  # noqa: PTH111 - an unknown user is not an error here
            real = os.path.realpath(self._root / path)
        except ValueError:  # a NUL
            raise RejectionError(RejectionReason.UNSAFE_ENTRY, "not a valid file name") from None
        if os.path.commonpath([real, self._real]) == self._real:
            return Path(os.path.relpath(real, self._real)).as_posix()
        if self._boundary.holds(real):  # a link into DVC's cache; the folder of the link must be inside as well
            parent, name = os.path.split(self._root / path)
            real = os.path.join(os.path.realpath(parent), name)  # noqa: PTH118
        if os.path.commonpath([real, self._real]) != self._real:
            raise RejectionError(
                RejectionReason.UNSAFE_ENTRY, f"leads out of {self._root}; set ingest.source.root to a folder above"
            )
        return Path(os.path.relpath(real, self._real)).as_posix()

    def _spelt(self, path: str) -> str:
        """Returns the spelling of a path for which a file exists; the last one tried if there is none."""
        if os.path.lexists(self._root / path):
            return path
        path = path.replace("\\", "/")
        if _DRIVE.match(path):
            raise RejectionError(
                RejectionReason.UNSAFE_ENTRY, "a path on another machine; write it relative to ingest.source.root"
            )
        spelt = "/" if path.startswith("/") else ""
        for part in path.split("/"):
            there = os.path.lexists(self._root / spelt / part)
            spelt = posixpath.join(spelt, part if there else self._names(spelt).get(composed(part), part))
        return spelt

    def _names(self, folder: str) -> dict[str, str]:
        """Returns the names in a folder, by their normalized form."""
        if folder not in self._spellings:
            place = self._root / folder
            try:
                names = os.listdir(place)  # noqa: PTH208 - names, not paths
            except OSError:  # no other spellings are known then; reading the file reports the reason
                names = []
            self._spellings[folder] = {composed(readable(name)): name for name in names}
        return self._spellings[folder]

    def read(self, path: str) -> bytes:
        file = self._root / path
        if file.exists() and not file.is_file():
            raise RejectionError(RejectionReason.UNREADABLE, "not a file")
        return tree.read_file(file, self._max_bytes)

    def unlisted(self, listed: set[str]) -> Iterator[str]:
        for entry in self._images({posixpath.dirname(path) for path in listed}):
            path = readable(Path(entry.path).relative_to(self._root).as_posix())
            if path not in listed:
                yield path

    def fingerprint(self, paths: Iterable[str], memory: ContentMemory = NO_MEMORY) -> dict[str, Any]:
        states: dict[str, str] = {}
        with memory.below(self._root) as known:
            for entry in track(self._images({posixpath.dirname(path) for path in paths}), "watching"):
                status, path = entry.stat(), Path(entry.path).relative_to(self._root).as_posix()
                try:
                    state = known.md5(path, status.st_size, tree.stamp(status))
                except OSError as error:
                    if is_shortage(error):
                        raise
                    state = str(error.strerror)
                states[readable(path)] = state
        return {"images": memory.digest(states)}

    def _images(self, folders: set[str]) -> Iterator[os.DirEntry[str]]:
        for folder in sorted(folders):
            if not (self._root / folder).is_dir():
                continue
            with os.scandir(self._root / folder) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    if is_litter(entry.name):
                        continue
                    if PurePosixPath(entry.name).suffix.lower() in IMAGE_SUFFIXES and entry.is_file():
                        yield entry


class RemoteTableFiles:
    """Files below a URL. Unlisted files are not reported: a service may have millions."""

    def __init__(self, url: str, max_bytes: int) -> None:
        self._url = url.rstrip("/")
        self._max_bytes = max_bytes

    def place(self, path: str) -> str:
        path = path.removeprefix(f"{self._url}/")
        placed = posixpath.normpath(path if "://" in path else path.replace("\\", "/"))
        if placed.startswith(("/", "..")) or "://" in path:
            raise RejectionError(
                RejectionReason.UNSAFE_ENTRY, f"leads out of {remote.location(self._url)}, ingest.source.root"
            )
        return placed

    def read(self, path: str) -> bytes:
        with remote.user_errors(self._url):
            fs, root = remote.filesystem(self._url)
            match = _first(fs, root, path)
            if match is None:
                raise RejectionError(RejectionReason.MISSING, "no such file")
            path, info = match
            size = info.get("size")
            if size is not None and size > self._max_bytes:
                raise RejectionError(
                    RejectionReason.TOO_MANY_BYTES, f"{size:,} bytes, at most {self._max_bytes:,} are allowed"
                )
            try:
                name = f"{root}/{path}"
                web = remote.is_web(name)  # whose word on a size binds nobody
                return remote.read_at_most(fs, name, self._max_bytes) if web else bytes(fs.cat_file(name))
            except FileNotFoundError:
                raise RejectionError(RejectionReason.MISSING, "deleted since it was listed") from None

    def unlisted(self, listed: set[str]) -> Iterator[str]:  # noqa: ARG002 - see the class
        return iter(())

    def fingerprint(self, paths: Iterable[str], memory: ContentMemory = NO_MEMORY) -> dict[str, Any]:
        with remote.user_errors(self._url):
            fs, root = remote.filesystem(self._url)

            def state_of(path: str) -> str:
                match = _first(fs, root, path)
                return repr(remote.state(match[1])) if match else "missing"

            wanted = sorted(set(paths))
            watched = track(map_ahead(state_of, wanted, remote.THREADS), "watching", len(wanted))
            return {"images": memory.digest(dict(zip(wanted, watched, strict=True)))}


def _on_disk(url: str) -> str:
    """Returns the path in a `file://` URL; refuses the URL of a service, with the remedy."""
    if url.startswith("file://"):
        return unquote(url.removeprefix("file://"))
    service = "/".join(remote.location(url).split("/")[:3])
    raise RejectionError(
        RejectionReason.UNSAFE_ENTRY, f"a URL; set ++ingest.source_options.root={service} to read what lies there"
    )


def _first(fs: Any, root: str, path: str) -> tuple[str, dict[str, Any]] | None:
    """Returns the spelling of a path for which a service has a file, and fsspec's information about it."""
    for form in dict.fromkeys((path, composed(path), unicodedata.normalize("NFD", path))):
        try:
            return form, fs.info(f"{root}/{form}")
        except FileNotFoundError:
            continue
    return None


def open_table_files(root: str, max_bytes: int) -> TableFiles:
    """Returns the reader of files below a folder or a URL."""
    return RemoteTableFiles(root, max_bytes) if "://" in root else LocalTableFiles(Path(root), max_bytes)
