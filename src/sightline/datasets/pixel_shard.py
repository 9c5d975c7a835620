"""A shard of a processed set: pixels in a `.npy` file that is named by the digest of what it holds."""

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
    """The content of a file of pixels.

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
    """Returns the digest of a file's pixels, of which `pixels` is the SHA-256, and shape."""
    return hashlib.sha256(pixels + str(shape).encode()).hexdigest()


def describe_shard(path: Path) -> PixelFile:
    """Reads a whole file and says what it holds; ValueError or OSError where it is none."""
    pixels = np.load(path, mmap_mode="r", allow_pickle=False)
    rows, height, width, channels = pixels.shape
    shape = (rows, height, width, channels)
    return PixelFile(shape, shard_digest(hashlib.sha256(pixels).digest(), shape))


def require_intact_shard(path: Path) -> None:
    """Refuses a shard that does not hold what it is named by; a process reads each once, unless it changes.

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
def _is_intact(path: Path, inode: int, size: int, changed: int) -> bool:  # noqa: ARG001 - what tells a file from the next
    try:
        return describe_shard(path).name == path.name
    except (ValueError, OSError) as error:
        if mendable := fault(error):
            raise mendable from None
        return False
