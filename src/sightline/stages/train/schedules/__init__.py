"""Learning-rate schedules that `train.schedule` can name, one module each. Adding a module here adds an option."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sightline.config.schema import Option, Registry

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler


@dataclass
class ScheduleOption(Option):
    """Base class of schedule options."""

    def build(self, optimizer: Optimizer, steps: int) -> LRScheduler:
        """Builds the schedule, which is stepped after every step of the optimiser.

        Args:
            optimizer: The optimiser, with the peak learning rates.
            steps: Number of optimiser steps of the whole run.
        """
        raise NotImplementedError(f"{type(self).__name__} has no build()")


SCHEDULES: Registry[ScheduleOption] = Registry("train/schedule", modules="sightline.stages.train.schedules.*")
