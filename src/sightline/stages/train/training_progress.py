"""The progress of a training run: one line for all epochs, above which the lines of finished epochs are printed."""

from __future__ import annotations

import time
from typing import Any, cast

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from sightline.core.progress import Progress
from sightline.stages.train.lightning_module import ClassifierModule

_SECONDS = 0.2  # between two updates, since reading the loss waits for the device


class TrainingProgress(Callback):
    """Shows epoch, the epoch's loss so far, the last epoch's validation accuracy, images/s and the remaining time.

    The remaining time is for all `max_epochs`; a run that stops early takes less.

    Args:
        sizes: Number of images in each batch of an epoch, over all processes.
        begun: Epoch and batch that the run resumes from.
    """

    def __init__(self, sizes: list[int], begun: tuple[int, int] = (0, 0)) -> None:
        self._sizes = sizes
        self._begun = begun
        self._progress: Progress | None = None
        self._shown_at = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._sizes = self._sizes[: int(trainer.num_training_batches)]
        total = (trainer.max_epochs or 1) * sum(self._sizes)
        self._progress = Progress(self._title(trainer), total, done=self._images(*self._begun))

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        now = time.monotonic()
        if self._progress is None or now - self._shown_at < _SECONDS:
            return
        self._shown_at = now
        note = f"loss {cast(ClassifierModule, pl_module).loss_so_far():.3f}"
        if (accuracy := trainer.callback_metrics.get("val_accuracy")) is not None:
            note += f", val acc {float(accuracy):.3f}"
        self._progress.to(self._images(trainer.current_epoch, batch_idx + 1), self._title(trainer), note)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._close()

    def _close(self) -> None:
        if self._progress is not None:
            self._progress.close()

    def _images(self, epoch: int, batches: int) -> int:
        return epoch * sum(self._sizes) + sum(self._sizes[:batches])

    @staticmethod
    def _title(trainer: pl.Trainer) -> str:
        return f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
