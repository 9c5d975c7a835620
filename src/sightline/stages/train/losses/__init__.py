"""Losses that `train.loss` can name, one module each. Adding a module here adds an option."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sightline.config.schema import Option, Registry

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass
class LossOption(Option):
    """Base class of loss options."""

    def build(self, weight: torch.Tensor | None) -> nn.Module:
        """Builds the loss of logits [N, K] and targets: int64 [N], or shares [N, K].

        Args:
            weight: [K] class weights, or None.
        """
        raise NotImplementedError(f"{type(self).__name__} has no build()")


LOSSES: Registry[LossOption] = Registry("train/loss", modules="sightline.stages.train.losses.*")
