"""The option `efficientnet`: torchvision's EfficientNet, versions 1 and 2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sightline.config.schema import require_one_of
from sightline.models.options import MODELS, TorchvisionOption

if TYPE_CHECKING:
    from torch import nn


@MODELS.register("efficientnet")
@dataclass
class EfficientNet(TorchvisionOption):
    """torchvision's EfficientNet (Tan and Le 2019; 2021). Attributes: variant: "b0" to "b7", "v2_s" to "v2_l"."""

    variant: str

    def __post_init__(self) -> None:
        super().__post_init__()
        require_one_of("variant", self.variant, (*(f"b{n}" for n in range(8)), "v2_s", "v2_m", "v2_l"))

    @property
    def architecture(self) -> str:
        return f"efficientnet_{self.variant}"

    def create(self, shape: tuple[int, int, int], num_classes: int) -> tuple[nn.Module, str]:
        from sightline.models import torchvision_networks

        return torchvision_networks.efficientnet(self.architecture, shape, num_classes)
