"""The optimiser Lion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sightline.stages.train.optimizers import OPTIMIZERS, OptimizerOption, momenta

if TYPE_CHECKING:
    from torch.optim import Optimizer


@OPTIMIZERS.register("lion")
@dataclass
class Lion(OptimizerOption):
    """Lion: steps of constant size in the direction of the momentum's sign (Chen et al. 2023).

    It needs about a third of AdamW's learning rate.

    Attributes:
        betas: Interpolation of momentum and gradient for the step; decay of the momentum.
    """

    betas: list[float]

    def __post_init__(self) -> None:
        super().__post_init__()
        momenta(self.betas)

    def build(self, groups: list[dict[str, Any]]) -> Optimizer:
        from sightline.stages.train.lion_optimizer import LionOptimizer

        return LionOptimizer(groups, lr=self.lr, betas=momenta(self.betas), weight_decay=self.weight_decay)
