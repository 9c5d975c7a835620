"""The option `convnext`: torchvision's ConvNeXt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sightline.config.schema import require_one_of
from sightline.models.options import MODELS, TorchvisionOption

if TYPE_CHECKING:
    from torch import nn


@MODELS.register("convnext")
@dataclass
class ConvNeXt(TorchvisionOption):
    """torchvision's ConvNeXt (Liu et al. 2022). Attributes: variant: "tiny", "small", "base" or "large"."""

    variant: str

    def __post_init__(self) -> None:
        super().__post_init__()
        require_one_of("variant", self.variant, ("tiny", "small", "base", "large"))

    @property
    def architecture(self) -> str:
        return f"convnext_{self.variant}"

    def create(self, shape: tuple[int, int, int], num_classes: int) -> tuple[nn.Module, str]:
        from sightline.models import torchvision_networks

        return torchvision_networks.convnext(self.architecture, shape, num_classes)
