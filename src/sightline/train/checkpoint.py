"""Checkpoints that survive a crash, a full disk and a power cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from sightline import files


class DurableCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place, syncs it, and renames it.

    Lightning's own way goes through $TMPDIR and a move, without a sync: on a full disk it was seen to destroy the
    checkpoint that was there before.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        with files.atomic_file(Path(path)) as temporary:
            torch.save(checkpoint, temporary)
