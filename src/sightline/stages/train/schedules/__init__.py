"""Learning-rate schedules: a module for each that `train.schedule` can name. A module that is put here is an option."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sightline.config.schema import Option, Registry

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler


@dataclass
class ScheduleOption(Option):
    """Base of every schedule's option."""

    def build(self, optimizer: Optimizer, steps: int) -> LRScheduler:
        """Builds the schedule, which is stepped after every step of the optimiser.

        Args:
            optimizer: The optimiser, its learning rates those of the peak.
            steps: Steps of the optimiser in the whole training.
        """
        raise NotImplementedError(f"{type(self).__name__} has no build()")


SCHEDULES: Registry[ScheduleOption] = Registry("train/schedule", modules="sightline.stages.train.schedules.*")
