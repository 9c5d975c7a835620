"""The option `vit`: torchvision's vision transformer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sightline.config.schema import require, require_one_of
from sightline.models.options import MODELS, TorchvisionOption

if TYPE_CHECKING:
    from torch import nn


@MODELS.register("vit")
@dataclass
class ViT(TorchvisionOption):
    """torchvision's vision transformer (Dosovitskiy et al. 2021), with patches that fit the image.

    Attributes:
        variant: "ti" and "s" (the sizes of Touvron et al. 2021), "b" or "l".
        patch_size: Height and width of a patch in pixels; null for an eighth of the image's longer side, at most 16.
    """

    variant: str
    patch_size: int | None

    def __post_init__(self) -> None:
        super().__post_init__()
        require_one_of("variant", self.variant, ("ti", "s", "b", "l"))
        require(self.weights != "DEFAULT" or self.variant in "bl", "weights: DEFAULT: the sizes ti and s have none")
        require(self.patch_size is None or self.patch_size > 0, f"patch_size: must be positive, not {self.patch_size}")

    @property
    def architecture(self) -> str:
        return f"vit_{self.variant}_16"

    def create(self, shape: tuple[int, int, int], num_classes: int) -> tuple[nn.Module, str]:
        from sightline.models import torchvision_networks

        return torchvision_networks.vit(self.variant, shape, num_classes, self.patch_size)
