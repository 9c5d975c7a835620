"""A folder with one folder per class, at a URL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from sightline.core.lookahead import map_ahead
from sightline.core.progress import track
from sightline.core.rejection import RejectionError, RejectionReason
from sightline.core.sampling import sample
from sightline.core.text import is_litter
from sightline.datasets.raw_set import ImageRecord, Rejection
from sightline.sources import remote
from sightline.sources.content import NO_MEMORY, ContentMemory
from sightline.sources.layout_rules import AUTO, LayoutRules


class RemoteFolderSource:
    """Every file below a URL is an input, as for `FolderSource`; memory holds the listing.

    Args:
        url: URL of the root.
        max_bytes: Larger files are rejected; without being read, if the service reports sizes.
        limit: Maximum number of files, sampled evenly from all; None for all.
        rules: Rules for reading the folder tree.

    Attributes:
        notes: Human-readable notes on how the tree was read; complete once all records have been read.
    """

    def __init__(self, url: str, max_bytes: int, limit: int | None = None, rules: LayoutRules = AUTO) -> None:
        self.notes: list[str] = []
        self._rules = rules
        self._url = url
        self._max_bytes = max_bytes
        self._limit = limit

    def fingerprint(self, memory: ContentMemory = NO_MEMORY) -> dict[str, Any]:
        fs, listing = self._list()

        def state_of(path: str) -> str:
            info = listing[path]
            return repr(remote.state(info if info.get("size") is not None else fs.info(info["name"])))

        with remote.user_errors(self._url):
            watched = track(map_ahead(state_of, listing, remote.THREADS), "watching", len(listing), unit="files")
            return {"files": len(listing), "digest": memory.digest(dict(zip(listing, watched, strict=True)))}

    def records(self) -> Iterator[ImageRecord | Rejection]:
        fs, listing = self._list()
        layout, self.notes = self._rules.read(listing)

        def fetch(path: str) -> ImageRecord | Rejection:
            place = layout.place(path)
            identity = place.id
            if place.label is None:
                return Rejection(identity, RejectionReason.NO_LABEL, place.fault)
            info = listing[path]
            size = info.get("size")
            if size is not None and size > self._max_bytes:
                return Rejection(
                    identity, RejectionReason.TOO_MANY_BYTES, f"{size:,} bytes, at most {self._max_bytes:,} are allowed"
                )
            try:
                name = info["name"]
                data = fs.cat_file(name) if size is not None else remote.read_at_most(fs, name, self._max_bytes)
            except RejectionError as error:
                return Rejection(identity, error.reason, error.detail)
            except FileNotFoundError:
                return Rejection(identity, RejectionReason.MISSING, "deleted since it was listed")
            except PermissionError:
                return Rejection(identity, RejectionReason.UNREADABLE, "no access")
            return ImageRecord(identity, data, place.label, place.split, place.group)

        with remote.user_errors(self._url):
            wanted = sample(
                listing, self._limit, lambda p: layout.place(p).id, lambda p: layout.place(p).label, self.notes
            )
            yield from map_ahead(fetch, wanted, remote.THREADS)

    def _list(self) -> tuple[Any, dict[str, dict[str, Any]]]:
        with remote.user_errors(self._url):
            fs, root = remote.filesystem(self._url)
            root = root.rstrip("/") + "/"
            listed = fs.find(root, detail=True)
            web = remote.is_web(root)
            names = {name.removeprefix(root).removeprefix("/"): info for name, info in listed.items()}
            listing = {unquote(name) if web else name: info for name, info in names.items()}
            listing = {name: info for name, info in listing.items() if name and not is_litter(name)}
            if not listing:
                fs.ls(root)  # raises the reason, if there is one
                raise FileNotFoundError
        return fs, dict(sorted(listing.items()))
