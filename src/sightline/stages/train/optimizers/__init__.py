"""Optimisers that `train.optimizer` can name, one module each. Adding a module here adds an option."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sightline.config.schema import Option, Registry, require

if TYPE_CHECKING:
    from torch.optim import Optimizer


@dataclass
class OptimizerOption(Option):
    """Base class of optimiser options.

    Attributes:
        lr: Learning rate of the head.
        weight_decay: Weight decay.
    """

    lr: float
    weight_decay: float

    def __post_init__(self) -> None:
        require(0 < self.lr < math.inf, f"lr: must be positive and finite, not {self.lr}")
        require(0 <= self.weight_decay < math.inf, f"weight_decay: must be at least 0, not {self.weight_decay}")

    def build(self, groups: list[dict[str, Any]]) -> Optimizer:
        """Builds the optimiser.

        Args:
            groups: Parameter groups, each with its own `lr` and `weight_decay`.
        """
        raise NotImplementedError(f"{type(self).__name__} has no build()")


OPTIMIZERS: Registry[OptimizerOption] = Registry("train/optimizer", modules="sightline.stages.train.optimizers.*")


def momenta(betas: list[float]) -> tuple[float, float]:
    """Returns the two coefficients of an optimiser with two running averages.

    Raises:
        ValueError: If they are not two numbers from 0 to below 1.
    """
    require(len(betas) == 2, "betas: must be two numbers")
    require(all(0 <= beta < 1 for beta in betas), f"betas: must be in [0, 1), not {betas}")
    return betas[0], betas[1]
