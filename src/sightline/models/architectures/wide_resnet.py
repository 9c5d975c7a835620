"""The option `wide_resnet`: a residual network with few layers and many channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sightline.config.schema import require
from sightline.models.options import MODELS, ModelOption

if TYPE_CHECKING:
    from torch import nn


@MODELS.register("wide_resnet")
@dataclass
class WideResNet(ModelOption):
    """Wide residual network (Zagoruyko and Komodakis 2016).

    Attributes:
        depth: Number of layers: 6n + 4, such as 16, 28 or 40.
        widen_factor: Factor of the channels 16, 32 and 64.
        dropout: Fraction of activations dropped between a block's two convolutions in training, 0 to below 1.
    """

    depth: int
    widen_factor: int
    dropout: float

    def __post_init__(self) -> None:
        fits = self.depth >= 10 and (self.depth - 4) % 6 == 0
        require(fits, f"depth: must be 6n + 4 (10, 16, 22, 28, 34, 40, ...), not {self.depth}")
        require(1 <= self.widen_factor <= 64, f"widen_factor: must be 1 to 64, not {self.widen_factor}")
        require(0 <= self.dropout < 1, f"dropout: must be in [0, 1), not {self.dropout}")

    def build(self, shape: tuple[int, int, int], num_classes: int) -> nn.Module:
        from sightline.models.wide_resnet_network import WideResNetwork

        return WideResNetwork(shape[2], num_classes, self.depth, self.widen_factor, self.dropout)
