"""Checkpoints that survive a crash, a full disk and a power cut, and are not read if a bit of them has changed."""

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
"""The last one before `LAST`, for the case that this is damaged."""
BEST = "best.ckpt"

_DIGITS = 64  # of a SHA-256 in hexadecimal
_CHUNK = 2**20


class DamagedError(Exception):
    """A checkpoint is not as it was written."""


class BestCheckpoint(ModelCheckpoint):
    """Keeps the best epoch so far as `BEST`, and remembers how good it was.

    Whole, not the weights alone: only then are averaged weights in the place of those of the last step.

    Args:
        folder: The folder for the file.
        monitor: The metric that says which epoch is best.
        mode: "min" or "max".
    """

    def __init__(self, folder: Path, monitor: str, mode: str) -> None:
        super().__init__(folder, Path(BEST).stem, monitor=monitor, mode=mode, enable_version_counter=False)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        # Lightning forgets how good the best epoch was where the folder has another path, so in a project that was
        # moved any later epoch took its place.
        best = str(Path(self.dirpath or "") / BEST)
        models = dict.fromkeys([best], *state_dict["best_k_models"].values()) if state_dict["best_k_models"] else {}
        paths = {"dirpath": self.dirpath, "best_k_models": models}
        paths |= {name: best for name in ("best_model_path", "kth_best_model_path") if state_dict[name]}
        super().load_state_dict({**state_dict, **paths})


class DurableCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place, syncs it, and renames it; reads it if its digest is that of its content.

    Lightning's own way goes through $TMPDIR and a move, without a sync: on a full disk it was seen to destroy the
    checkpoint that was there before. And torch compares no checksum: of 300 flipped bits 287 were loaded as weights.
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
    """Keeps what `path` was as `PREVIOUS`, once the block has replaced it."""
    held = path.with_name(f".{PREVIOUS}.tmp")
    held.unlink(missing_ok=True)  # left by a kill
    with suppress(OSError):  # there is none yet; or a file system without hard links, where none is kept
        os.link(path, held)
    try:
        yield
        if held.exists():
            held.replace(path.with_name(PREVIOUS))
    finally:
        held.unlink(missing_ok=True)


def seal(path: Path) -> None:
    """Adds the digest of a file of `torch.save` to it.

    Such a file is a zip archive, and a zip archive ends with a comment: that is where the digest goes. So a kill
    cannot part the two, and torch reads the file as before.
    """
    with path.open("r+b") as stream:
        stream.seek(-2, os.SEEK_END)  # the comment's length, of which torch.save writes none
        if stream.read() != b"\0\0":
            raise ValueError(f"{path} was not written by torch.save")
        stream.seek(-2, os.SEEK_END)
        stream.write(_DIGITS.to_bytes(2, "little"))
    digest = _digest(path, path.stat().st_size)
    with path.open("ab") as stream:
        stream.write(digest)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a checkpoint onto the CPU; nothing in it is executed.

    Raises:
        DamagedError: If a byte of it is not as it was written.
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
    """Gives a damaged checkpoint another name, under which nothing looks for it, and returns that."""
    return path.replace(path.with_name(f"{path.name}.damaged"))
