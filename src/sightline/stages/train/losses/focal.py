"""The option of the focal loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sightline.config.schema import require
from sightline.stages.train.losses import LOSSES, LossOption

if TYPE_CHECKING:
    import torch
    from torch import nn


@LOSSES.register("focal")
@dataclass
class Focal(LossOption):
    """Focal loss: cross-entropy with less weight on images that are already classified confidently (Lin et al. 2017).

    Attributes:
        gamma: Focusing parameter, at least 0; 0 is cross-entropy.
    """

    gamma: float

    def __post_init__(self) -> None:
        require(self.gamma >= 0, f"gamma: must be at least 0, not {self.gamma}")

    def build(self, weight: torch.Tensor | None) -> nn.Module:
        from sightline.stages.train.focal_loss import FocalLoss

        return FocalLoss(self.gamma, weight)
