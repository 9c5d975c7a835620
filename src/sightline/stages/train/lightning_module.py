"""The LightningModule: the steps of training and validation."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import nn

from sightline.core import seeds
from sightline.imaging.augment.torch_backend import BatchAugmentation
from sightline.models import parameter_groups
from sightline.models.classifier import Classifier
from sightline.stages.train.dataloader import Batch
from sightline.stages.train.optimizers import OptimizerOption
from sightline.stages.train.outlier_exposure import OutlierExposure, undecided_loss
from sightline.stages.train.schedules import ScheduleOption

if TYPE_CHECKING:
    from sightline.stages.train.mixing import Mix

Sum = Callable[[torch.Tensor], torch.Tensor]
"""Sums a tensor over the processes that train together."""


class RunningMean:
    """A mean accumulated on the device: one addition per batch, without synchronisation before the end of the epoch."""

    def __init__(self) -> None:
        self.total: torch.Tensor | None = None
        self.weight = 0

    def add(self, total: torch.Tensor, weight: int) -> None:
        """Adds the sum (a scalar) of `weight` values."""
        # Apple's GPUs do not support float64.
        total = total.detach().to(torch.float32 if total.device.type == "mps" else torch.float64)
        self.total = total if self.total is None else self.total.to(total.device) + total
        self.weight += weight

    def mean(self) -> float:
        """Returns the mean of this process's values so far; synchronises with the device."""
        return float("nan") if self.total is None else float(self.total) / self.weight

    def take(self, over_all: Sum | None = None) -> float:
        """Returns the mean and resets it. With `over_all`, the mean is over the values of all processes."""
        mean = float("nan")
        if self.total is not None:
            both = torch.stack([self.total, torch.full_like(self.total, self.weight)])
            total, weight = (both if over_all is None else over_all(both)).tolist()
            mean = total / weight
        self.total, self.weight = None, 0
        return mean


class ClassifierModule(pl.LightningModule):
    """Trains a classifier.

    Once per epoch it logs train_loss, val_loss (plain cross-entropy), val_accuracy (0..1) and lr (the head's, at the
    epoch's last step).

    Args:
        classifier: The model, whose weights are trained in place.
        loss: The loss function of logits and targets.
        optimizer: The optimiser.
        schedule: The learning-rate schedule.
        seed: The run's seed.
        lr_mult: Learning rate of the head relative to the optimiser's.
        layer_decay: Learning rate of a block relative to the one above it.
        backbone_lr_mult: Learning rate of the backbone relative to the head's.
        freeze_epochs: Number of initial epochs in which only the head is trained.
        frozen_statistics: Whether batch norms keep their current statistics.
        augment: Augmentation of whole batches; None if the loader augments images, or nothing does.
        mix: Blending of a batch's images and labels.
        exposure: Images of none of the classes, at most as many per batch as it has labelled images.
    """

    def __init__(
        self,
        classifier: Classifier,
        *,
        loss: nn.Module,
        optimizer: OptimizerOption,
        schedule: ScheduleOption,
        seed: int,
        lr_mult: float = 1.0,
        layer_decay: float = 1.0,
        backbone_lr_mult: float = 1.0,
        freeze_epochs: int = 0,
        frozen_statistics: bool = False,
        augment: BatchAugmentation | None = None,
        mix: Mix | None = None,
        exposure: OutlierExposure | None = None,
    ) -> None:
        super().__init__()
        self.classifier = classifier
        self.loss = loss
        self._optimizer = optimizer
        self._schedule = schedule
        self._seed = seed
        self._lr_mult = lr_mult
        self._layer_decay = layer_decay
        self._backbone_lr_mult = backbone_lr_mult
        self._freeze_epochs = freeze_epochs
        self._frozen_statistics = frozen_statistics
        self._augment = augment
        self._mix = mix
        self._exposure = exposure
        self._lr = 0.0
        self._train_loss = RunningMean()
        self._val_loss = RunningMean()
        self._val_accuracy = RunningMean()

    def on_train_start(self) -> None:
        self.on_train_epoch_start()  # Lightning does not call it when it resumes within an epoch

    def on_train_epoch_start(self) -> None:
        if self._freeze_epochs:
            parameter_groups.freeze(self.classifier, self.current_epoch < self._freeze_epochs)
        if self._frozen_statistics:
            parameter_groups.keep_statistics(self.classifier)

    def loss_so_far(self) -> float:
        """Returns the mean training loss of this process's images so far in the epoch."""
        return self._train_loss.mean()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        # Dropout and mixing draw from torch's generator. It is seeded for every batch, so that a resumed run makes the
        # same draws as an uninterrupted one. Each process has other images and therefore its own draws.
        rank = [self.global_rank] * (self.global_rank > 0)
        torch.manual_seed(seeds.derive(self._seed, "batch", self.current_epoch, batch_idx, *rank))
        self._lr = max(group["lr"] for group in self.trainer.optimizers[0].param_groups)

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        images, labels, keys = batch
        if self._augment is not None:
            # In full precision: in bf16, sampling positions would be off by whole pixels.
            with torch.autocast(images.device.type, enabled=False):
                images = self._augment(images, keys)
        targets = labels
        if self._mix is not None:
            images, targets = self._mix(images, labels)
        if self._exposure is not None:
            images = torch.cat([images, self._unknown(self._exposure, images, batch_idx)])
        logits = self.classifier(images)
        loss: torch.Tensor = self.loss(logits[: len(labels)], targets)
        self._train_loss.add(loss * len(labels), len(labels))
        if (world := _world()) > 1:
            # Gradients are averaged over processes, which may differ by one in their number of images.
            whole: int = cast(Any, self.trainer.train_dataloader).batches.sizes[batch_idx]
            loss = loss * (len(labels) * world / whole)
        if self._exposure is not None:
            loss = loss + self._exposure.weight * undecided_loss(logits[len(labels) :])
        return loss

    def _unknown(self, exposure: OutlierExposure, images: torch.Tensor, batch_idx: int) -> torch.Tensor:
        """Returns images of none of the classes for a batch, with the dtype and device of its images."""
        found, keys = exposure.batch(len(images), self.current_epoch, [batch_idx, self.global_rank])
        found, keys = found.to(images.device), keys.to(images.device)
        if self._augment is not None:
            with torch.autocast(images.device.type, enabled=False):
                found = self._augment(found, keys)
        return found.to(images.dtype)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        images, labels, _ = batch
        logits = self.classifier(images).float()
        self._val_loss.add(nn.functional.cross_entropy(logits, labels, reduction="sum"), len(labels))
        self._val_accuracy.add((logits.argmax(1) == labels).sum(), len(labels))

    def on_validation_epoch_end(self) -> None:
        self.log_dict({"val_loss": self._val_loss.take(self._sum), "val_accuracy": self._val_accuracy.take(self._sum)})

    def on_train_epoch_end(self) -> None:
        self.log_dict({"train_loss": self._train_loss.take(self._sum), "lr": self._lr})

    def _sum(self, values: torch.Tensor) -> torch.Tensor:
        if _world() == 1:
            return values
        added: torch.Tensor = self.trainer.strategy.reduce(values, reduce_op="sum")
        return added

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        total = self._train_loss.total
        here = torch.zeros((), dtype=torch.float64, device=self.device) if total is None else total
        both = torch.stack([here, torch.full_like(here, self._train_loss.weight)])
        # One row per process: their sums stay separate, so that the epoch's mean is the same to the last bit.
        together = [torch.empty_like(both) for _ in range(_world())]
        if len(together) > 1:
            torch.distributed.all_gather(together, both)
        else:
            together = [both]
        checkpoint["train_loss"] = torch.stack(together).cpu()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        total, weight = checkpoint["train_loss"][self.global_rank]
        self._train_loss.total, self._train_loss.weight = total, int(weight)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        groups = parameter_groups.parameter_groups(
            self.classifier,
            self._optimizer.lr * self._lr_mult,
            self._backbone_lr_mult,
            self._optimizer.weight_decay,
            layer_decay=self._layer_decay,
        )
        optimizer = self._optimizer.build(groups)
        scheduler = self._schedule.build(optimizer, int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def _world() -> int:
    """Returns the number of processes that train together."""
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_world_size() if distributed else 1
