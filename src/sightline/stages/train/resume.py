"""The checkpoint that an interrupted training run resumes from, and the handling of damaged ones."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

from sightline.stages.train import checkpoint_io
from sightline.stages.train.checkpointing import EpochMetrics, TrainingCheckpoint

_log = logging.getLogger(__name__)


class ResumePoint:
    """A checkpoint to resume from.

    Attributes:
        path: The file.
        rows: Metrics of the epochs so far.
        epoch: The epoch to resume in, from 0.
        batch: Number of batches of that epoch that are already done.
        stopped: Whether training had already stopped early, so that nothing is left to do.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        state: dict[str, Any] = checkpoint_io.read_checkpoint(path)["callbacks"][TrainingCheckpoint.__qualname__]
        self.rows: list[EpochMetrics] = state["rows"]
        self.epoch, self.batch = state["position"]
        self.stopped: bool = state["stopped"]


def find_checkpoint(folder: Path, report: bool = True) -> ResumePoint | None:
    """Returns the checkpoint to resume from: the last one, or the previous one if that is damaged, or else None.

    Args:
        folder: The folder of a run's checkpoints.
        report: Whether to log the result and rename damaged files, which only one of several processes does. The others
            get the same result before and after that.
    """
    damaged: list[Path] = []
    found = _usable(folder, damaged)
    if report:
        remedy = "training resumes from the previous one" if found else "training restarts"
        for path in damaged:
            _log.warning(f"train: {path} is damaged, and set aside as {checkpoint_io.set_aside(path).name}: {remedy}")
        if found is None:  # leftover files must not be mistaken for checkpoints of the new run
            for name in (checkpoint_io.LAST, checkpoint_io.PREVIOUS, checkpoint_io.BEST):
                (folder / name).unlink(missing_ok=True)
        else:
            _log.info(f"train: resuming in epoch {found.epoch + 1}, after {found.batch} of its batches")
    return found


def _usable(folder: Path, damaged: list[Path]) -> ResumePoint | None:
    for path in (folder / checkpoint_io.LAST, folder / checkpoint_io.PREVIOUS):
        try:
            resumed = ResumePoint(path)
        except FileNotFoundError:
            continue
        except checkpoint_io.DamagedError:
            damaged.append(path)
            continue
        if resumed.rows and not any(all(map(math.isfinite, row.values())) for row in resumed.rows):
            return None  # it diverged
        if resumed.rows and not _is_sound(
            best := folder / checkpoint_io.BEST
        ):  # without the best epoch's weights, resuming would lose them
            damaged += [best] if best.exists() else []
            return None
        return resumed
    return None


def _is_sound(path: Path) -> bool:
    try:
        checkpoint_io.read_checkpoint(path)
    except (checkpoint_io.DamagedError, FileNotFoundError):
        return False
    return True
