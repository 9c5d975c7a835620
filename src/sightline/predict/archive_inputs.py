"""Images in an archive, read entry by entry, without unpacking to disk and without trusting any entry."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

from sightline.core.errors import UserError, is_shortage
from sightline.core.rejection import RejectionError, RejectionReason
from sightline.core.text import is_litter, readable
from sightline.predict.inputs import Input, failed
from sightline.sources.archives import UnpackBudget, open_archive

MAX_RATIO = 100
"""Maximum ratio of unpacked to packed size (a gibibyte is always allowed); more is considered an archive bomb."""

_FREE_BYTES = 2**30


def members(path: str, name: str, max_bytes: int) -> Iterator[Input]:
    """Yields the images in an archive as `name/path-in-it`; a truncated archive ends with a failed input.

    Args:
        path: The archive on disk.
        name: Its human-readable name.
        max_bytes: Size limit of an entry; larger ones are rejected without being unpacked.
    """
    try:
        with Path(path).open("rb") as stream:
            budget = UnpackBudget(max(_FREE_BYTES, MAX_RATIO * Path(path).stat().st_size))
            empty = True
            for member in open_archive(stream, readable(name), max_bytes, budget):
                if is_litter(member.path):
                    continue
                empty = False
                entry = f"{name}/{member.path}"
                # It must be read before the archive advances to the next one.
                try:
                    data = member.read()
                except RejectionError as fault:
                    yield failed(entry, fault.reason, fault.detail)
                else:
                    yield Input(entry, functools.partial(bytes, data))
            if empty:
                yield failed(name, RejectionReason.MISSING, "the archive contains no files")
    except UserError as error:
        yield failed(name, RejectionReason.INCOMPLETE_ARCHIVE, str(error).removeprefix(f"{readable(name)}: "))
    except OSError as error:
        if is_shortage(error):
            raise
        yield failed(name, RejectionReason.UNREADABLE, error.strerror or str(error))
