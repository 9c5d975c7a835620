"""The option `resnet9`: a nine-layer residual network that trains fast on small images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sightline.config.schema import require, require_one_of
from sightline.models.options import MODELS, ModelOption

if TYPE_CHECKING:
    from torch import nn


@MODELS.register("resnet9")
@dataclass
class ResNet9(ModelOption):
    """The fast network of the DAWNBench lineage for 32x32 pixels (Page 2018, "How to train your ResNet").

    Attributes:
        width: Channels of the first block; the others have 2, 4 and 8 times as many.
        pool: "max" or "mean" over the final height and width.
        scale: Factor of the logits: below 1 keeps them small, which permits a high learning rate.
    """

    width: int
    pool: str
    scale: float

    def __post_init__(self) -> None:
        require(1 <= self.width <= 1024, f"width: must be 1 to 1024, not {self.width}")
        require_one_of("pool", self.pool, ("max", "mean"))
        require(0 < self.scale <= 100, f"scale: must be above 0 and at most 100, not {self.scale}")

    def build(self, shape: tuple[int, int, int], num_classes: int) -> nn.Module:
        from sightline.models.resnet9_network import ResNet9Network

        return ResNet9Network(shape[2], num_classes, self.width, self.pool, self.scale)
