"""Readers of archives that nobody vouches for."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from typing import IO

from sightline.archives.member import Budget, Member
from sightline.archives.tars import read_tar
from sightline.archives.zips import read_zip

__all__ = ["Budget", "Member", "open_archive"]


def open_archive(stream: IO[bytes], name: str, max_bytes: int, budget: Budget) -> Iterator[Member]:
    """Yields the files in an archive, told by its content and not its name; folders are no members.

    Args:
        stream: The archive; seekable.
        name: What to call it in messages.
        max_bytes: A larger member is refused without being unpacked.
        budget: What may be unpacked in all.

    Raises:
        UserError: If it is no archive, is damaged, or unpacks to more than the budget.
    """
    if zipfile.is_zipfile(stream):
        return read_zip(stream, name, max_bytes, budget)
    stream.seek(0)
    return read_tar(stream, name, max_bytes, budget)
