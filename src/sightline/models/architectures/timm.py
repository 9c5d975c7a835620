"""The option `timm`: any network of the timm library (Wightman 2019), which is an optional dependency."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sightline.config.schema import require
from sightline.models.options import MODELS, PretrainableOption

if TYPE_CHECKING:
    from torch import nn


@MODELS.register("timm")
@dataclass
class Timm(PretrainableOption):
    """Any network of the timm library, which the extra `timm` installs.

    Attributes:
        model_name: timm's name of the network, such as "resnet26d" or "convnext_atto.d2_in1k".
        arguments: Further arguments of its builder, such as `drop_path_rate: 0.1`.
    """

    model_name: str
    arguments: dict[str, Any]

    def __post_init__(self) -> None:
        super().__post_init__()
        # A name such as "hf-hub:..." would download the architecture; rebuilding a model must work offline.
        plain = ":" not in self.model_name and "/" not in self.model_name
        require(plain, f"model_name: must be a name of timm's own list, not {self.model_name!r}")
        own = ("checkpoint_path", "in_chans", "num_classes", "cache_dir")  # set by Sightline, or read files
        for key in self.arguments:
            require(key not in own and not key.startswith("pretrained"), f"arguments: {key} cannot be set here")

    def input_side(self) -> int | None:
        import timm

        known = timm.get_pretrained_cfg(self.model_name)
        return None if known is None else int(known.input_size[-1])

    def build(self, shape: tuple[int, int, int], num_classes: int) -> nn.Module:
        from sightline.models import timm_network

        return timm_network.create(self.model_name, self.arguments, self.weights, shape, num_classes)

    def head(self, network: nn.Module) -> str:
        from sightline.models import timm_network

        return timm_network.head(network, self.model_name)
