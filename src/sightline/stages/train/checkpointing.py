"""The state of a training run, reported every epoch and saved so that an interrupted run can resume."""

from __future__ import annotations

import csv
import logging
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint

from sightline.core import files
from sightline.stages.train.checkpoint_io import LAST
from sightline.stages.train.dataloader import DirectLoader, TimedDataLoader

_log = logging.getLogger(__name__)

HISTORY = ("epoch", "train_loss", "val_loss", "val_accuracy", "lr")
MINUTES_BETWEEN_SAVES = 5.0
MOST_STALL = 0.1  # share of an epoch's time spent waiting for data above which it is reported

LogMetrics = Callable[[Mapping[str, float], int], None]
"""Receives an epoch's metrics and its number, from 0."""
EpochMetrics = dict[str, float]


class TrainingCheckpoint(Checkpoint):
    """Keeps one row of metrics per epoch, and the checkpoint to resume from.

    The checkpoint is written at the end of every epoch, within an epoch every few minutes, and on SIGTERM and Ctrl-C,
    after which the process ends (a second signal ends it at once). It is not written right after an epoch's last batch,
    because validation still belongs to the epoch and the save at its end follows soon.

    It subclasses `Checkpoint` so that Lightning calls it after the other callbacks and the module, when all metrics of
    the epoch have been logged.

    Args:
        folder: The folder for `last.ckpt`.
        loader: The training split's loader, whose waiting time is reported every epoch.
        log: Called with every epoch's metrics, after they have been saved.
        shown: Whether to print one line per epoch.
    """

    def __init__(
        self, folder: Path, loader: TimedDataLoader | DirectLoader, log: LogMetrics | None, shown: bool = True
    ) -> None:
        self.rows: list[EpochMetrics] = []
        self.stopped = False
        self.position = (0, 0)
        self._folder = folder
        self._loader = loader
        self._log = log
        self._shown = shown
        self._warned = False
        self._signal: int | None = None
        self._handlers: dict[int, Any] = {}
        self._saved_at = 0.0
        self._epoch_started = 0.0

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, "stopped": self.stopped, "position": self.position}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = state_dict["rows"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._saved_at = self._epoch_started = time.monotonic()
        for number in (signal.SIGTERM, signal.SIGINT):
            self._handlers[number] = signal.signal(number, self._on_signal)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._epoch_started = time.monotonic()
        self._loader.waited = 0.0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        done = batch_idx + 1
        whole_step = done % trainer.accumulate_grad_batches == 0
        if done == trainer.num_training_batches or not whole_step:
            return
        due = self._signal is not None or time.monotonic() - self._saved_at > 60 * MINUTES_BETWEEN_SAVES
        # All processes must save together, although a signal may have reached only one of them and clocks differ.
        if trainer.strategy.reduce_boolean_decision(due, all=False) if trainer.world_size > 1 else due:
            self._save(trainer, (trainer.current_epoch, done))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        metrics = {name: float(trainer.callback_metrics[name]) for name in HISTORY[1:]}
        self.rows.append({"epoch": float(trainer.current_epoch), **metrics})
        self.stopped = trainer.should_stop
        seconds = time.monotonic() - self._epoch_started
        stall = self._loader.waited / seconds
        if self._shown:
            shown = "  ".join(f"{name} {value:.4g}" for name, value in metrics.items() if name != "lr")
            _log.info(f"epoch {trainer.current_epoch + 1:>3}/{trainer.max_epochs}  {shown}  {seconds:.1f} s")
        self._warn_of_stall(stall, seconds)
        self._save(trainer, (trainer.current_epoch + 1, 0))
        if self._log is not None:
            self._log({**metrics, "epoch_seconds": seconds, "data_stall": stall}, trainer.current_epoch)

    def _warn_of_stall(self, stall: float, seconds: float) -> None:
        if stall > MOST_STALL and seconds > 2 and not self._warned:
            self._warned = True
            _log.info(
                f"train: {stall:.0%} of the time is spent waiting for data; set SIGHTLINE_NUM_WORKERS to a few "
                "processes, or train.augment_on=batch"
            )

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._restore_handlers()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._restore_handlers()

    def _save(self, trainer: pl.Trainer, position: tuple[int, int]) -> None:
        self.position = position
        trainer.save_checkpoint(self._folder / LAST)
        self._saved_at = time.monotonic()
        ends = self._signal is not None
        if trainer.world_size > 1:
            ends = trainer.strategy.reduce_boolean_decision(ends, all=False)
        if ends:
            epoch, batch = position
            if self._shown:
                _log.info(
                    f"train: stopped in epoch {epoch + 1} after {batch} batches; the same command resumes from there"
                )
            raise SystemExit(128 + (self._signal or signal.SIGTERM))

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signal = number
        self._restore_handlers()

    def _restore_handlers(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers.clear()


def write_history(rows: list[EpochMetrics], path: Path) -> None:
    """Writes the metrics as CSV, rounded to 6 significant digits; epochs are counted from 1, as on the terminal."""
    with files.atomic_file(path) as temporary, temporary.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(HISTORY)
        for row in rows:
            writer.writerow([int(row["epoch"]) + 1, *(f"{row[name]:.6g}" for name in HISTORY[1:])])
