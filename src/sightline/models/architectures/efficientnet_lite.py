"""The options `efficientnet_lite0`, `1` and `2`: small networks with pretrained weights in a Python package."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sightline.config.schema import require
from sightline.models.options import MODELS, PretrainableOption

if TYPE_CHECKING:
    from torch import nn


@MODELS.register("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
@dataclass
class EfficientNetLite(PretrainableOption):
    """EfficientNet without squeeze-and-excitation and with ReLU6 (Google 2020), built by timm.

    Attributes:
        drop_rate: Fraction of the embedding that is dropped before the head in training, 0 to below 1.
        drop_path_rate: Fraction of images for which training skips the last block (stochastic depth, Huang et al.
            2016), 0 to below 1; earlier blocks are skipped proportionally less often.
    """

    drop_rate: float
    drop_path_rate: float

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("drop_rate", "drop_path_rate"):
            require(0 <= getattr(self, name) < 1, f"{name}: must be in [0, 1), not {getattr(self, name)}")

    def input_side(self) -> int | None:
        return {"0": 224, "1": 240, "2": 260}[self.name[-1]]

    def build(self, shape: tuple[int, int, int], num_classes: int) -> nn.Module:
        from sightline.models import timm_network

        arguments = {"drop_rate": self.drop_rate, "drop_path_rate": self.drop_path_rate}
        return timm_network.create(f"tf_{self.name}", arguments, self.weights, shape, num_classes, self.name)

    def head(self, network: nn.Module) -> str:
        from sightline.models import timm_network

        return timm_network.head(network, self.name)
