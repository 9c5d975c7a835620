"""The cosine schedule with warm-up."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sightline.config.schema import require
from sightline.stages.train.schedules import SCHEDULES, ScheduleOption

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler


@SCHEDULES.register("cosine")
@dataclass
class Cosine(ScheduleOption):
    """Linear warm-up, then a cosine from the peak to `final` times it (Loshchilov and Hutter 2017, no restarts).

    Attributes:
        warmup: Share of all steps spent warming up, 0 to below 1.
        final: Last learning rate as a share of the peak, 0 to 1.
    """

    warmup: float
    final: float

    def __post_init__(self) -> None:
        require(0 <= self.warmup < 1, f"warmup: must be in [0, 1), not {self.warmup}")
        require(0 <= self.final <= 1, f"final: must be in [0, 1], not {self.final}")

    def build(self, optimizer: Optimizer, steps: int) -> LRScheduler:
        from torch.optim.lr_scheduler import LambdaLR

        warmup = int(self.warmup * steps)

        def factor(step: int) -> float:
            if step < warmup:
                return (step + 1) / warmup
            progress = min(1.0, (step - warmup) / max(1, steps - warmup))
            return self.final + (1 - self.final) * (1 + math.cos(math.pi * progress)) / 2

        return LambdaLR(optimizer, factor)
