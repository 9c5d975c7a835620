"""Members of archives: the budget for unpacking them, and the check for safe names."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from sightline.core.rejection import RejectionError, RejectionReason

REMEDY = "download it again, or unpack what can still be read (`{}`) and name the folder instead"
"""The remedy for a damaged archive: its full content is unknown, so a part is never taken for the whole."""

_DRIVE = re.compile(r"[A-Za-z]:")


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive.

    Attributes:
        path: Without `./`; unchanged if it is not safe.
        read: Unpacks the file; to be called once, before the next member is requested; raises RejectionError.
        fault: The reason why it cannot be read, or None.
    """

    path: str
    read: Callable[[], bytes]
    fault: RejectionError | None = None


@dataclass
class UnpackBudget:
    """The number of bytes that may still be unpacked.

    Attributes:
        left: The number of bytes.
        remedy: The remedy for an archive that needs more, for error messages.
    """

    left: int
    remedy: str = "unpack it yourself if you trust it"

    def spend(self, count: int) -> bool:
        """Spends `count` bytes; returns whether they were still available."""
        self.left -= count
        return self.left >= 0


def rejected_member(path: str, reason: RejectionReason, detail: str) -> Member:
    """Returns a member that cannot be read."""
    fault = RejectionError(reason, detail)

    def refuse() -> bytes:
        raise fault

    return Member(path, refuse, fault)


def safe_path(name: str) -> str:
    """Returns the normalized path of a name, without `./` and doubled slashes.

    Raises:
        RejectionError: If it leads out of the folder that the archive would be unpacked to. Nothing is unpacked to
            disk, but such a name is a sign of a malicious archive.
    """
    if name.startswith(("/", "\\")) or _DRIVE.match(name):
        raise RejectionError(RejectionReason.UNSAFE_ENTRY, "an absolute path")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in re.split(r"[/\\]", name):
        raise RejectionError(RejectionReason.UNSAFE_ENTRY, "a path that leads out of the archive")
    if "\0" in name or not parts:
        raise RejectionError(RejectionReason.UNSAFE_ENTRY, "not a valid file name")
    return "/".join(parts)
