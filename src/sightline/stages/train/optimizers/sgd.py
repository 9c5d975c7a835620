"""The optimiser SGD."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sightline.config.schema import require
from sightline.stages.train.optimizers import OPTIMIZERS, OptimizerOption

if TYPE_CHECKING:
    from torch.optim import Optimizer


@OPTIMIZERS.register("sgd")
@dataclass
class Sgd(OptimizerOption):
    """Stochastic gradient descent with momentum; its weight decay is an L2 penalty.

    Attributes:
        momentum: Decay of the running sum of gradients, 0 to below 1.
        nesterov: Whether to look ahead, in Nesterov's form.
    """

    momentum: float
    nesterov: bool

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.momentum < 1, f"momentum: must be in [0, 1), not {self.momentum}")
        require(self.momentum > 0 or not self.nesterov, "nesterov: needs a momentum above 0")

    def build(self, groups: list[dict[str, Any]]) -> Optimizer:
        from torch.optim import SGD

        return SGD(groups, lr=self.lr, momentum=self.momentum, nesterov=self.nesterov, weight_decay=self.weight_decay)
