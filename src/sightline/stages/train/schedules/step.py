"""The step schedule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sightline.config.schema import require
from sightline.stages.train.schedules import SCHEDULES, ScheduleOption

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler


@SCHEDULES.register("step")
@dataclass
class Step(ScheduleOption):
    """The learning rate is cut at fixed points.

    Attributes:
        milestones: Shares of all steps at which it is cut.
        factor: Factor by which each cut multiplies the learning rate, above 0 to 1.
    """

    milestones: list[float]
    factor: float

    def __post_init__(self) -> None:
        inside = all(0 < share < 1 for share in self.milestones)
        require(inside, f"milestones: must be in (0, 1), not {self.milestones}")
        require(0 < self.factor <= 1, f"factor: must be in (0, 1], not {self.factor}")

    def build(self, optimizer: Optimizer, steps: int) -> LRScheduler:
        from torch.optim.lr_scheduler import LambdaLR

        cuts = [share * steps for share in self.milestones]
        return LambdaLR(optimizer, lambda step: self.factor ** sum(step >= cut for cut in cuts))
