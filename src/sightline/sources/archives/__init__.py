"""Readers for untrusted archives: tar and zip."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from typing import IO

from sightline.core.errors import UserError
from sightline.sources.archives.member import Member, UnpackBudget
from sightline.sources.archives.tars import is_tar, read_tar
from sightline.sources.archives.zips import read_zip

__all__ = ["Member", "UnpackBudget", "open_archive"]

_ZIP = (b"PK\3\4", b"PK\5\6")
_UNREAD = {
    b"Rar!\x1a\7": ("RAR", "unar"),
    b"7z\xbc\xaf\x27\x1c": ("7z", "7z x"),
    b"\x04\x22\x4d\x18": ("lz4", "lz4 -d"),
    b"\x1f\x9d": ("compress", "uncompress"),
}


def open_archive(
    stream: IO[bytes], name: str, max_bytes: int, budget: UnpackBudget, folders: set[str] | None = None
) -> Iterator[Member]:
    """Yields the files in an archive, without its folders; the kind of archive is detected from its content.

    The iteration ends normally only if the archive is complete; otherwise it raises. The checksums of a zip and of
    compressed data are verified; a plain tar has checksums of its headers only.

    Args:
        stream: The archive; seekable.
        name: Its name in messages.
        max_bytes: Larger members are rejected without being unpacked.
        budget: Bytes that may be unpacked in all.
        folders: The names of folders with an entry of their own are added to it, as members around them are read.

    Raises:
        UserError: If it is not an archive, is damaged, or unpacks to more than the budget.
    """
    start = stream.read(512)
    for signature, (kind, command) in _UNREAD.items():
        if start.startswith(signature):
            raise UserError(
                f"{name}: a file of {kind}, which is not supported: unpack it (`{command}`), and name the folder"
            )
    # A zip may begin with anything, and a zip at the end of a tar makes the tar look like a zip.
    is_zip = start.startswith(_ZIP) or (not is_tar(start) and _is_zip(stream))
    stream.seek(0)
    return (read_zip if is_zip else read_tar)(stream, name, max_bytes, budget, set() if folders is None else folders)


def _is_zip(stream: IO[bytes]) -> bool:
    try:
        return zipfile.is_zipfile(stream)
    except zipfile.BadZipFile:  # one of several parts: reading it as a zip reports that
        return True
