"""The one-cycle schedule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sightline.config.schema import require
from sightline.stages.train.schedules import SCHEDULES, ScheduleOption

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler


@SCHEDULES.register("one_cycle")
@dataclass
class OneCycle(ScheduleOption):
    """One cycle: the learning rate rises to the peak and falls to almost 0, momentum inversely (Smith and Topin 2018).

    Attributes:
        warmup: Share of all steps spent going up, above 0 and below 1.
        start: First learning rate as a share of the peak, above 0 to 1.
        final: Last learning rate as a share of the first, above 0 to 1.
    """

    warmup: float
    start: float
    final: float

    def __post_init__(self) -> None:
        require(0 < self.warmup < 1, f"warmup: must be in (0, 1), not {self.warmup}")
        for name in ("start", "final"):
            require(0 < getattr(self, name) <= 1, f"{name}: must be in (0, 1], not {getattr(self, name)}")

    def build(self, optimizer: Optimizer, steps: int) -> LRScheduler:
        from torch.optim.lr_scheduler import OneCycleLR

        return OneCycleLR(
            optimizer,
            max_lr=[group["lr"] for group in optimizer.param_groups],
            total_steps=steps + 1,  # the scheduler also steps after the last one
            pct_start=self.warmup,
            div_factor=1 / self.start,
            final_div_factor=1 / self.final,
        )
