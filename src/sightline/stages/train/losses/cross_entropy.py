"""The cross-entropy loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sightline.config.schema import require
from sightline.stages.train.losses import LOSSES, LossOption

if TYPE_CHECKING:
    import torch
    from torch import nn


@LOSSES.register("cross_entropy")
@dataclass
class CrossEntropy(LossOption):
    """Cross-entropy.

    Attributes:
        label_smoothing: Share of the target spread over all classes, 0 to below 1 (Szegedy et al. 2016).
    """

    label_smoothing: float

    def __post_init__(self) -> None:
        require(0 <= self.label_smoothing < 1, f"label_smoothing: must be in [0, 1), not {self.label_smoothing}")

    def build(self, weight: torch.Tensor | None) -> nn.Module:
        from torch import nn

        return nn.CrossEntropyLoss(weight=weight, label_smoothing=self.label_smoothing)
