"""The optimiser AdamW."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sightline.stages.train.optimizers import OPTIMIZERS, OptimizerOption, momenta

if TYPE_CHECKING:
    from torch.optim import Optimizer


@OPTIMIZERS.register("adamw")
@dataclass
class AdamW(OptimizerOption):
    """AdamW (Loshchilov and Hutter 2019).

    Attributes:
        betas: Decay of the running averages of the gradient and of its square, each 0 to below 1.
    """

    betas: list[float]

    def __post_init__(self) -> None:
        super().__post_init__()
        momenta(self.betas)

    def build(self, groups: list[dict[str, Any]]) -> Optimizer:
        from torch.optim import AdamW as TorchAdamW

        return TorchAdamW(groups, lr=self.lr, betas=momenta(self.betas), weight_decay=self.weight_decay)
