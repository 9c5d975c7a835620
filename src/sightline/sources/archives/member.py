"""Members of archives: the budget for unpacking them, and the check that their names are safe."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from sightline.core.rejection import RejectionError, RejectionReason

REMEDY = "download it again, or unpack what can still be read (`{}`) and name the folder instead"
"""The remedy for an archive that is damaged: what it held cannot be known, so no part is taken for the whole."""

_DRIVE = re.compile(r"[A-Za-z]:")


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive.

    Attributes:
        path: Without `./`; as the archive has it where it is not safe.
        read: Unpacks it, once, before the next member is asked for; raises RejectionError.
        fault: The reason why it cannot be read, or None.
    """

    path: str
    read: Callable[[], bytes]
    fault: RejectionError | None = None


@dataclass
class UnpackBudget:
    """Bytes that may still be unpacked.

    Attributes:
        left: So many.
        remedy: The remedy for an archive that needs more, for its message.
    """

    left: int
    remedy: str = "unpack it yourself if you trust it"

    def spend(self, count: int) -> bool:
        """Takes `count` bytes; says whether they were there."""
        self.left -= count
        return self.left >= 0


def rejected_member(path: str, reason: RejectionReason, detail: str) -> Member:
    """Returns a member that cannot be read."""
    fault = RejectionError(reason, detail)

    def refuse() -> bytes:
        raise fault

    return Member(path, refuse, fault)


def safe_path(name: str) -> str:
    """Returns the path that a name stands for, without `./` and doubled slashes.

    Raises:
        RejectionError: If it leads out of the folder that an archive would be unpacked to. Nothing is, but
            who made such an archive meant harm.
    """
    if name.startswith(("/", "\\")) or _DRIVE.match(name):
        raise RejectionError(RejectionReason.UNSAFE_ENTRY, "an absolute path")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in re.split(r"[/\\]", name):
        raise RejectionError(RejectionReason.UNSAFE_ENTRY, "a path that leads out of the archive")
    if "\0" in name or not parts:
        raise RejectionError(RejectionReason.UNSAFE_ENTRY, "not a valid file name")
    return "/".join(parts)
