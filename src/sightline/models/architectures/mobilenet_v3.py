"""The option `mobilenet_v3`: torchvision's network for phones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sightline.config.schema import require_one_of
from sightline.models.options import MODELS, TorchvisionOption

if TYPE_CHECKING:
    from torch import nn


@MODELS.register("mobilenet_v3")
@dataclass
class MobileNetV3(TorchvisionOption):
    """torchvision's MobileNetV3 (Howard et al. 2019). Attributes: variant: "small" or "large"."""

    variant: str

    def __post_init__(self) -> None:
        super().__post_init__()
        require_one_of("variant", self.variant, ("small", "large"))

    @property
    def architecture(self) -> str:
        return f"mobilenet_v3_{self.variant}"

    def create(self, shape: tuple[int, int, int], num_classes: int) -> tuple[nn.Module, str]:
        from sightline.models import torchvision_networks

        return torchvision_networks.mobilenet_v3(self.architecture, shape, num_classes)
