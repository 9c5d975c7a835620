"""The content digest of a path, the same as DVC's, with a memory of files that have not changed since.

The digest of a file is its MD5, that of a folder the MD5 of DVC's list of its files. A folder that DVC tracks therefore
has the digest in its `.dvc` file on every machine, whether it has been pulled or not.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from sightline.core import dvc_cache, dvc_files, files
from sightline.core.errors import UserError, is_shortage
from sightline.core.progress import track
from sightline.core.text import is_litter, readable
from sightline.sources import tree
from sightline.sources.known_digests import KnownDigests, known_digests
from sightline.sources.tree import TreeEntry

T = TypeVar("T")

_MOST_LISTS = 4
_PART = 4096  # files of a list that are serialized at a time


class ContentMemory:
    """Digests of files, kept from one run to the next, and the lists of files behind digests of sources.

    Args:
        folder: The folder to keep them in; None to keep nothing.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    def digest(self, states: Mapping[str, str]) -> str:
        """Returns a digest of the state of each file, and keeps the list of states.

        Args:
            states: State by relative path, in an order that is the same on every machine.
        """
        digest = files.sha256("".join(f"{path}\0{state}\n" for path, state in states.items()).encode())
        self.keep_list(digest, states.items())
        return digest

    def keep_list(self, digest: str, states: Iterable[tuple[str, str]]) -> None:
        """Keeps the list behind a source's digest: the state of each file, with its relative path.

        Only the most recently used lists are kept; the list for the state in dvc.lock is used in every comparison.
        """
        if self._folder is None:
            return
        file = self._list_file(self._folder, digest)
        with contextlib.suppress(OSError):  # a full disk: the next write reports it
            if file.is_file():
                file.touch()
            else:
                with files.atomic_file(file) as temporary, temporary.open("wb") as stream:
                    stream.writelines(_object(states))
            for old in sorted(file.parent.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)[:-_MOST_LISTS]:
                old.unlink()

    def kept_list(self, digest: str) -> dict[str, str] | None:
        """Returns a list kept by `keep_list`, or from DVC's cache; None if it is in neither."""
        file = self._list_file(self._folder, digest) if self._folder else None
        if file is not None:
            with contextlib.suppress(OSError, ValueError):  # not kept, or truncated
                kept: dict[str, str] = json.loads(file.read_text(encoding="ascii"))
                file.touch()
                return kept
        return dvc_cache.listing(digest) if digest.endswith(".dir") else None

    @staticmethod
    def _list_file(folder: Path, digest: str) -> Path:
        return folder / "lists" / f"{digest}.json"

    def below(self, root: Path, in_order: bool = False) -> contextlib.AbstractContextManager[KnownDigests]:
        """Yields the known digests of files below a folder, and keeps the updated ones at the end.

        Args:
            root: The folder, or the file.
            in_order: Whether its files will be requested in ascending order of path.
        """
        name = f"{files.sha256(os.fsencode(root.absolute()))[:16]}.jsonl"
        return known_digests(root, self._folder / name if self._folder else None, in_order)


NO_MEMORY = ContentMemory()


def fingerprint(path: Path, memory: ContentMemory = NO_MEMORY) -> dict[str, str]:
    """Returns the digest of a file or folder; if it belongs to an unchanged folder tracked by DVC, that folder's.

    Args:
        path: The file or folder; it may be missing if DVC tracks it.
        memory: Content digests of its files from the last run.
    """
    digest = tracked_digest(path, memory)
    return {"md5": digest or (_folder(path, memory)[1] if path.is_dir() else _file(path, memory))}


def tracked_digest(path: Path, memory: ContentMemory = NO_MEMORY) -> str | None:
    """Returns the digest of the tracked file or folder that a path belongs to; None if untracked or changed.

    Raises:
        UserError: If the data is from another commit, according to DVC's cache: a change was pulled without its data.
    """
    tracked = dvc_files.tracked(path)
    if tracked is None:
        return None
    if not os.path.lexists(tracked.path):
        return tracked.md5
    there = own_digest(tracked.path, memory)
    if there == tracked.md5:
        return tracked.md5
    if dvc_cache.holds(there):
        verb = "checkout" if dvc_cache.holds(tracked.md5) else "pull"
        raise UserError(
            f"{tracked.path} belongs to another commit than {tracked.pointer}: run `dvc {verb} {tracked.pointer}`, "
            f"or, to keep it as it is, `dvc add {tracked.path}`"
        )
    return None


def own_digest(path: Path, memory: ContentMemory = NO_MEMORY) -> str:
    """Returns the digest that DVC would compute for a file or a folder."""
    return _folder(path, memory)[0] if path.is_dir() else _file(path, memory)


def is_here(path: Path) -> bool:
    """Returns whether to look at a path itself: it exists, or DVC does not track it."""
    tracked = dvc_files.tracked(path)
    return tracked is None or os.path.lexists(tracked.path)


def how_to_get(path: Path) -> str:
    """Returns the remedy for a missing path that DVC tracks; empty for others."""
    tracked = dvc_files.tracked(path)
    return "" if tracked is None or os.path.lexists(path) else f"run `dvc pull {tracked.pointer}`"


def _file(path: Path, memory: ContentMemory) -> str:
    with memory.below(path) as known:
        status = path.stat()
        return known.md5("", status.st_size, tree.stamp(status), shown=True)


def _folder(root: Path, memory: ContentMemory) -> tuple[str, str]:
    """Returns the digest of all files below a folder, and that of the files that count as inputs."""
    paths: list[str] = []
    states: list[str] = []
    litter: set[str] = set()
    with memory.below(root, in_order=True) as known:
        for entry in track(tree.walk(root, litter=True), "watching", unit="files"):
            states.append(_state(entry, known))
            paths.append(readable(entry.path))
            if is_litter(entry.path):
                litter.add(paths[-1])
    whole = _listed(paths, states, set(), memory)
    return whole, _listed(paths, states, litter, memory) if litter else whole


def _state(entry: TreeEntry, known: KnownDigests) -> str:
    if entry.fault:
        return str(entry.fault)
    try:
        return known.md5(entry.path, entry.size, entry.stamp)
    except OSError as error:
        if is_shortage(error):
            raise
        return str(error.strerror)


def _listed(paths: list[str], states: list[str], without: set[str], memory: ContentMemory) -> str:
    """Returns the digest of a list of files, serialized and digested as DVC does it."""
    order = sorted(range(len(paths)), key=paths.__getitem__)

    def items() -> Iterator[tuple[str, str]]:
        return ((paths[i], states[i]) for i in order if paths[i] not in without)

    content = hashlib.md5(b"[", usedforsecurity=False)
    separator = b""
    for part in _parts({"md5": state, "relpath": path} for path, state in items()):
        content.update(separator + json.dumps(part, sort_keys=True)[1:-1].encode())
        separator = b", "
    content.update(b"]")
    digest = f"{content.hexdigest()}.dir"
    memory.keep_list(digest, items())
    return digest


def _object(items: Iterable[tuple[str, str]]) -> Iterator[bytes]:
    """Yields a JSON object in parts."""
    separator = "{"
    for part in _parts(items):
        yield f"{separator}{json.dumps(dict(part))[1:-1]}".encode()
        separator = ", "
    yield b"{}" if separator == "{" else b"}"


def _parts(items: Iterable[T]) -> Iterator[list[T]]:
    rest = iter(items)
    while part := list(itertools.islice(rest, _PART)):
        yield part
