"""The options `resnet18` and `resnet50`: torchvision's residual networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sightline.models.options import MODELS, TorchvisionOption

if TYPE_CHECKING:
    from torch import nn


@MODELS.register("resnet18", "resnet50")
@dataclass
class ResNet(TorchvisionOption):
    """torchvision's ResNet-18 and ResNet-50 (He et al. 2016), with a small-image stem below 96 pixels."""

    def create(self, shape: tuple[int, int, int], num_classes: int) -> tuple[nn.Module, str]:
        from sightline.models import torchvision_networks

        return torchvision_networks.resnet(self.architecture, shape, num_classes)
