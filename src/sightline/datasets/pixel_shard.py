"""A shard of a processed set: pixels in a `.npy` file named by the digest of its content."""

from __future__ import annotations

import functools
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sightline.core.errors import UserError, fault

_NAME = re.compile(r"shard-([0-9a-f]{16})\.npy")


@dataclass(frozen=True)
class PixelFile:
    """A description of a file of pixels.

    Attributes:
        shape: [rows, height, width, channels].
        digest: SHA-256 over pixels and shape.
    """

    shape: tuple[int, int, int, int]
    digest: str

    @property
    def name(self) -> str:
        """The file's name in a processed set."""
        return f"shard-{self.digest[:16]}.npy"


def shard_digest(pixels: bytes, shape: tuple[int, ...]) -> str:
    """Returns the digest of a file from its shape and `pixels`, the SHA-256 of its pixels."""
    return hashlib.sha256(pixels + str(shape).encode()).hexdigest()


def describe_shard(path: Path) -> PixelFile:
    """Reads a whole file and returns its description; raises ValueError or OSError if it is not a shard."""
    pixels = np.load(path, mmap_mode="r", allow_pickle=False)
    rows, height, width, channels = pixels.shape
    shape = (rows, height, width, channels)
    return PixelFile(shape, shard_digest(hashlib.sha256(pixels).digest(), shape))


def require_intact_shard(path: Path) -> None:
    """Refuses a shard whose content does not match its name; a process reads each once, unless it changes.

    Raises:
        UserError: If it is damaged.
    """
    about = path.stat()
    if _NAME.fullmatch(path.name) and not _is_intact(path, about.st_ino, about.st_size, about.st_mtime_ns):
        raise UserError(
            f"{path} is damaged, its pixels have changed since they were written: rm -rf .sightline/memo/preprocess "
            "&& dvc repro --single-item --force preprocess"
        )


@functools.cache
def _is_intact(path: Path, inode: int, size: int, changed: int) -> bool:  # noqa: ARG001 - part of the cache's key
    try:
        return describe_shard(path).name == path.name
    except (ValueError, OSError) as error:
        if mendable := fault(error):
            raise mendable from None
        return False
