"""The schema of each network: what stands in `conf/train/model/<name>.yaml` and in `model.json`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from sightline.config.schema import Option, require, require_one_of


@dataclass
class Cnn(Option):
    """Small convolutional network: blocks of two 3x3 convolutions with batch norm and pooling, then dense layers.

    Attributes:
        width: Channels of the first block; each further block has twice as many.
        blocks: Number of blocks, 1 to 6; each halves height and width. None: as many as leave about four pixels of the
            image's side, two to five.
        hidden: Units of the dense layer before the classes.
        dropout: Share of that layer's units dropped in training, 0 to below 1.
    """

    width: int
    blocks: int | None
    hidden: int
    dropout: float

    def __post_init__(self) -> None:
        require(self.width > 0, f"width: must be positive, is {self.width}")
        require(self.blocks is None or 1 <= self.blocks <= 6, f"blocks: must be 1 to 6, is {self.blocks}")
        require(self.hidden > 0, f"hidden: must be positive, is {self.hidden}")
        require(0 <= self.dropout < 1, f"dropout: must be in [0, 1), is {self.dropout}")

    def blocks_for(self, height: int, width: int) -> int:
        """Returns the number of blocks for images of this size: a block more for twice the side.

        >>> [Cnn("cnn", 32, None, 128, 0.2).blocks_for(side, side) for side in (8, 16, 28, 64, 224)]
        [2, 2, 3, 4, 5]
        """
        if self.blocks is not None:
            return self.blocks
        return min(5, max(2, round(math.log2(min(height, width) / 4))))


@dataclass
class Dense(Option):
    """Fully connected network on the pixels: a baseline to beat.

    Attributes:
        hidden: Units of each hidden layer.
        dropout: Share of units dropped after each hidden layer in training, 0 to below 1.
    """

    hidden: list[int]
    dropout: float

    def __post_init__(self) -> None:
        require(all(units > 0 for units in self.hidden), f"hidden: units must be positive, are {self.hidden}")
        require(0 <= self.dropout < 1, f"dropout: must be in [0, 1), is {self.dropout}")


@dataclass
class ResNet9(Option):
    """The fast network of the DAWNBench lineage for 32x32 pixels (Page 2018, "How to train your ResNet").

    Attributes:
        width: Channels of the first block; the others have 2, 4 and 8 times as many.
        pool: "max" or "mean" over what is left of height and width.
        scale: The logits' factor: below 1 it keeps them small, which lets the learning rate be high.
    """

    width: int
    pool: str
    scale: float

    def __post_init__(self) -> None:
        require(1 <= self.width <= 1024, f"width: must be 1 to 1024, is {self.width}")
        require_one_of("pool", self.pool, ("max", "mean"))
        require(0 < self.scale <= 100, f"scale: must be above 0 and at most 100, is {self.scale}")


@dataclass
class WideResNet(Option):
    """Wide residual network (Zagoruyko and Komodakis 2016).

    Attributes:
        depth: Number of convolutions and the dense layer: 6n + 4, such as 16, 28 or 40.
        widen_factor: Channels as multiples of 16, 32 and 64.
        dropout: Share of activations dropped between a block's two convolutions in training, 0 to below 1.
    """

    depth: int
    widen_factor: int
    dropout: float

    def __post_init__(self) -> None:
        fits = self.depth >= 10 and (self.depth - 4) % 6 == 0
        require(fits, f"depth: must be 6n + 4 (10, 16, 22, 28, 34, 40, ...), is {self.depth}")
        require(1 <= self.widen_factor <= 64, f"widen_factor: must be 1 to 64, is {self.widen_factor}")
        require(0 <= self.dropout < 1, f"dropout: must be in [0, 1), is {self.dropout}")


@dataclass
class Pretrainable(Option):
    """A network that others have trained before.

    Attributes:
        weights: "DEFAULT" for the ImageNet weights of the library that has the network, a path to a local file
            (`.safetensors`, or what `torch.save` made of a state dict), or null for random weights.
    """

    weights: str | None

    def __post_init__(self) -> None:
        require(self.weights != "", "weights: must be DEFAULT, a path or null, is empty")


@dataclass
class ResNet18(Pretrainable):
    """torchvision's ResNet-18 (He et al. 2016), with a small-image stem below 96 pixels."""


@dataclass
class ResNet50(Pretrainable):
    """torchvision's ResNet-50 (He et al. 2016), with a small-image stem below 96 pixels."""


@dataclass
class MobileNetV3(Pretrainable):
    """torchvision's MobileNetV3 (Howard et al. 2019). Attributes: variant: "small" or "large"."""

    variant: str

    def __post_init__(self) -> None:
        super().__post_init__()
        require_one_of("variant", self.variant, ("small", "large"))


@dataclass
class EfficientNet(Pretrainable):
    """torchvision's EfficientNet (Tan and Le 2019; 2021). Attributes: variant: "b0" to "b7", "v2_s" to "v2_l"."""

    variant: str

    def __post_init__(self) -> None:
        super().__post_init__()
        require_one_of("variant", self.variant, (*(f"b{n}" for n in range(8)), "v2_s", "v2_m", "v2_l"))


@dataclass
class ConvNeXt(Pretrainable):
    """torchvision's ConvNeXt (Liu et al. 2022). Attributes: variant: "tiny", "small", "base" or "large"."""

    variant: str

    def __post_init__(self) -> None:
        super().__post_init__()
        require_one_of("variant", self.variant, ("tiny", "small", "base", "large"))


@dataclass
class ViT(Pretrainable):
    """torchvision's vision transformer (Dosovitskiy et al. 2021), with patches that fit the image.

    Attributes:
        variant: "ti" and "s" (the sizes of Touvron et al. 2021), "b" or "l".
        patch_size: Height and width of a patch in pixels; null takes an eighth of the image's, at most 16.
    """

    variant: str
    patch_size: int | None

    def __post_init__(self) -> None:
        super().__post_init__()
        require_one_of("variant", self.variant, ("ti", "s", "b", "l"))
        require(self.weights != "DEFAULT" or self.variant in "bl", "weights: DEFAULT: there are none of ti and s")
        require(self.patch_size is None or self.patch_size > 0, f"patch_size: must be positive, is {self.patch_size}")


@dataclass
class Timm(Pretrainable):
    """Any network of the timm library, which is the extra `timm`.

    Attributes:
        model_name: timm's name of it, such as "resnet26d" or "convnext_atto.d2_in1k".
        arguments: Further arguments of its builder, such as `drop_path_rate: 0.1`.
    """

    model_name: str
    arguments: dict[str, Any]

    def __post_init__(self) -> None:
        super().__post_init__()
        # A name such as "hf-hub:..." would fetch a description of the network: rebuilding a model must need no network.
        plain = ":" not in self.model_name and "/" not in self.model_name
        require(plain, f"model_name: must be a name of timm's own list, is {self.model_name!r}")
        own = ("checkpoint_path", "in_chans", "num_classes", "cache_dir")  # set here, or would read files
        for key in self.arguments:
            require(key not in own and not key.startswith("pretrained"), f"arguments: {key} cannot be set here")


MODELS: dict[str, type[Option]] = {
    "cnn": Cnn,
    "convnext": ConvNeXt,
    "dense": Dense,
    "efficientnet": EfficientNet,
    "mobilenet_v3": MobileNetV3,
    "resnet18": ResNet18,
    "resnet50": ResNet50,
    "resnet9": ResNet9,
    "timm": Timm,
    "vit": ViT,
    "wide_resnet": WideResNet,
}
