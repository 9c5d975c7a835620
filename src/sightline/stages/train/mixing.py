"""Mixing: blending of the images and labels within a batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sightline.config.schema import Option, Registry, require

if TYPE_CHECKING:
    import torch

    Mix = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
    """Maps images [N, H, W, C], 0..255, and labels, int64 [N], to float32 images and [N, K] shares of the classes."""


@dataclass
class MixingOption(Option):
    """Base class of mixing options."""

    def build(self, classes: int) -> Mix | None:
        """Builds the function that blends a batch, for K = `classes`; None if nothing is blended."""
        raise NotImplementedError(f"{type(self).__name__} has no build()")


MIXINGS: Registry[MixingOption] = Registry("train/mix")


@MIXINGS.register("none")
@dataclass
class NoMixing(MixingOption):
    """No mixing."""

    def build(self, classes: int) -> Mix | None:
        return None


@MIXINGS.register("mixup", "cutmix")
@dataclass
class Mixing(MixingOption):
    """torchvision's MixUp (Zhang et al. 2018) or CutMix (Yun et al. 2019).

    Attributes:
        alpha: Parameter of the Beta distribution of the mixing share; larger values mix more evenly.
    """

    alpha: float

    def __post_init__(self) -> None:
        require(self.alpha > 0, f"alpha: must be positive, not {self.alpha}")

    def build(self, classes: int) -> Mix | None:
        from torchvision.transforms import v2  # takes seconds to import, and few runs mix

        blend = (v2.MixUp if self.name == "mixup" else v2.CutMix)(alpha=self.alpha, num_classes=classes)

        def mix(images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            mixed, targets = blend(images.float().permute(0, 3, 1, 2), labels)
            return mixed.permute(0, 2, 3, 1), targets

        return mix
