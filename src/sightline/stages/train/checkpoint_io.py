"""Checkpoint files that survive crashes, full disks and power cuts, and are rejected if a bit of them has changed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO

from sightline.core import files

LAST = "last.ckpt"
PREVIOUS = "previous.ckpt"
"""The checkpoint before `LAST`, in case that one is damaged."""
BEST = "best.ckpt"

_DIGITS = 64  # of a SHA-256 in hexadecimal
_CHUNK = 2**20


class DamagedError(Exception):
    """A checkpoint is not the same as when it was written."""


class BestCheckpoint(ModelCheckpoint):
    """Keeps the best epoch so far as `BEST`, and remembers its score.

    The file is a full checkpoint and not only the weights, because only then does Lightning store averaged weights in
    place of the last step's.

    Args:
        folder: The folder for the file.
        monitor: The metric that determines the best epoch.
        mode: "min" or "max".
    """

    def __init__(self, folder: Path, monitor: str, mode: str) -> None:
        super().__init__(folder, Path(BEST).stem, monitor=monitor, mode=mode, enable_version_counter=False)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        # Lightning discards the best score if the folder's path has changed, so that after moving a project any later
        # epoch would replace the best one.
        best = str(Path(self.dirpath or "") / BEST)
        models = dict.fromkeys([best], *state_dict["best_k_models"].values()) if state_dict["best_k_models"] else {}
        paths = {"dirpath": self.dirpath, "best_k_models": models}
        paths |= {name: best for name in ("best_model_path", "kth_best_model_path") if state_dict[name]}
        super().load_state_dict({**state_dict, **paths})


class DurableCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints atomically (temporary file, sync, rename) with a digest, and verifies the digest on reading.

    Lightning itself writes to $TMPDIR and moves the file without a sync: on a full disk, this destroyed the previous
    checkpoint. And torch verifies no checksum: of 300 flipped bits, 287 were loaded as weights.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        path = Path(path)
        with _previous(path) if path.name == LAST else nullcontext(), files.atomic_file(path) as temporary:
            torch.save(checkpoint, temporary)
            seal(temporary)

    def load_checkpoint(self, path: str | Path, *_: Any, **__: Any) -> dict[str, Any]:
        return read_checkpoint(Path(path))


@contextmanager
def _previous(path: Path) -> Iterator[None]:
    """Keeps the old file of `path` as `PREVIOUS` after the `with` block has replaced it."""
    held = path.with_name(f".{PREVIOUS}.tmp")
    held.unlink(missing_ok=True)  # left by a kill
    with suppress(OSError):  # no checkpoint yet; or a file system without hard links, where no previous one is kept
        os.link(path, held)
    try:
        yield
        if held.exists():
            held.replace(path.with_name(PREVIOUS))
    finally:
        held.unlink(missing_ok=True)


def seal(path: Path) -> None:
    """Appends its digest to a file written by `torch.save`.

    Such a file is a zip archive, whose trailing comment holds the digest. So content and digest are never separated,
    and torch can still read the file.
    """
    with path.open("r+b") as stream:
        stream.seek(-2, os.SEEK_END)  # the comment's length; torch.save writes no comment
        if stream.read() != b"\0\0":
            raise ValueError(f"{path} was not written by torch.save")
        stream.seek(-2, os.SEEK_END)
        stream.write(_DIGITS.to_bytes(2, "little"))
    digest = _digest(path, path.stat().st_size)
    with path.open("ab") as stream:
        stream.write(digest)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a checkpoint onto the CPU, without executing any code in it.

    Raises:
        DamagedError: If any byte of it has changed.
    """
    size = path.stat().st_size - _DIGITS
    with path.open("rb") as stream:
        stream.seek(max(size, 0))
        if stream.read() != _digest(path, size):
            raise DamagedError(path)
    content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return content


def _digest(path: Path, size: int) -> bytes:
    """Returns the SHA-256 of a file's first `size` bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while size > 0 and (chunk := stream.read(min(size, _CHUNK))):
            digest.update(chunk)
            size -= len(chunk)
    return digest.hexdigest().encode()


def set_aside(path: Path) -> Path:
    """Renames a damaged checkpoint, so that it is not found again, and returns its new path."""
    return path.replace(path.with_name(f"{path.name}.damaged"))
