"""torchvision's networks, adapted to the size and the channels of the images.

They were designed for 224 x 224 pixels, which their first layers reduce to about 56 x 56. For images below 96 pixels,
the first two of their five halvings are left out: the last map has an eighth of the image's size rather than a 32nd.

Each function creates a network with random weights, and returns it and the name of its first convolution. All of them
pool with `adaptive_avg_pool2d` to one pixel, which PyTorch computes as a mean and is thus deterministic on CUDA.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.error import URLError

import torch
import torchvision
from torch import nn
from torchvision.models.vision_transformer import VisionTransformer, interpolate_embeddings

from sightline.core.errors import UserError
from sightline.models import pretrained

SMALL_STEM_BELOW = 96
"""Length of the shorter side, in pixels, below which the first two halvings are left out."""

Shape = tuple[int, int, int]
"""(height, width, channels) of the images."""

_he_normal = partial(nn.init.kaiming_normal_, mode="fan_out", nonlinearity="relu")


def load_weights(network: nn.Module, name: str, first: str, head: str, weights: str) -> None:
    """Loads pretrained weights, adapted to the stem and the channels; the last layer is left unchanged.

    Args:
        network: The network.
        name: torchvision's name of it.
        first: Name of its first convolution.
        head: Name of its last layer.
        weights: "DEFAULT", or the path of a file.

    Raises:
        UserError: If the weights are unavailable, or belong to another network.
    """
    state = _default_weights(name) if weights == "DEFAULT" else pretrained.read_weights(weights)
    if isinstance(network, FittedViT):
        state = network.fit_positions(state)
    pretrained.load_backbone(network, state, first, head, name, weights)


def resnet(name: str, shape: Shape, num_classes: int) -> tuple[nn.Module, str]:
    """ResNets (He et al. 2016); small: their section 4.2, a 3x3 convolution of stride 1, and no pooling."""
    network = torchvision.models.get_model(name, num_classes=num_classes)
    _replace_first(network, "conv1", shape[2], _is_small(shape), _he_normal)
    if _is_small(shape):
        network.maxpool = nn.Identity()
    return network, "conv1"


def mobilenet_v3(name: str, shape: Shape, num_classes: int) -> tuple[nn.Module, str]:
    """MobileNetV3 (Howard et al. 2019); small: the first two strides of 2 are 1."""
    # torchvision's momentum of 0.01 suits millions of steps: after a few hundred steps the running statistics would
    # still be close to their initial values, and validation results would be noise.
    norm = partial(nn.BatchNorm2d, eps=0.001, momentum=0.1)
    network = torchvision.models.get_model(name, num_classes=num_classes, norm_layer=norm)
    _replace_first(network, "features.0.0", shape[2], False, _he_normal)
    if _is_small(shape):
        _leave_out_strides(network)
    return network, "features.0.0"


def efficientnet(name: str, shape: Shape, num_classes: int) -> tuple[nn.Module, str]:
    """EfficientNet (Tan and Le 2019, V2 2021); small: the first two strides of 2 are 1."""
    network = torchvision.models.get_model(name, num_classes=num_classes)
    _replace_first(network, "features.0.0", shape[2], False, _he_normal)
    if _is_small(shape):
        _leave_out_strides(network)
    return network, "features.0.0"


def convnext(name: str, shape: Shape, num_classes: int) -> tuple[nn.Module, str]:
    """ConvNeXt (Liu et al. 2022); small: a 3x3 convolution of stride 1 in place of the 4x4 patches."""
    network = torchvision.models.get_model(name, num_classes=num_classes)
    _replace_first(network, "features.0.0", shape[2], _is_small(shape), partial(nn.init.trunc_normal_, std=0.02))
    return network, "features.0.0"


VIT_SIZES = {"ti": (12, 3, 192), "s": (12, 6, 384), "b": (12, 12, 768), "l": (24, 16, 1024)}
"""Layers, heads and embedding size: "ti" and "s" as in DeiT (Touvron et al. 2021), "b" and "l" as in the original."""


def vit(variant: str, shape: Shape, num_classes: int, patch_size: int | None) -> tuple[nn.Module, str]:
    """Vision transformers (Dosovitskiy et al. 2021); the default patch is an eighth of the longer side, at most 16."""
    height, width, channels = shape
    side = max(height, width)
    patch = patch_size or max(1, min(16, round(side / 8)))
    network = FittedViT(variant, num_classes, patch, side)
    fan_in = channels * patch**2
    init = partial(nn.init.trunc_normal_, std=math.sqrt(1 / fan_in))  # torchvision's
    _replace_first(network, "conv_proj", channels, False, init)
    return network, "conv_proj"


class FittedViT(VisionTransformer):  # type: ignore[misc]  # torchvision has no types
    """A vision transformer for images of any height and width.

    Images that are not square, or whose sides are not multiples of the patch size, are padded at the right and the
    bottom with the mean of the training pixels (which is 0 after normalisation).

    Args:
        variant: A name in `VIT_SIZES`.
        num_classes: Number of logits.
        patch: Height and width of a patch, in pixels.
        side: The longer side of the images, in pixels.
    """

    def __init__(self, variant: str, num_classes: int, patch: int, side: int) -> None:
        layers, heads, width = VIT_SIZES[variant]
        padded = -(-side // patch) * patch
        super().__init__(padded, patch, layers, heads, width, 4 * width, num_classes=num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Maps [N, C, H, W] float images to [N, num_classes] logits."""
        height, width = images.shape[-2:]
        padding = (0, self.image_size - width, 0, self.image_size - height)
        logits: torch.Tensor = super().forward(nn.functional.pad(images, padding) if any(padding) else images)
        return logits

    def fit_positions(self, state: pretrained.State) -> pretrained.State:
        """Returns weights with the position embeddings interpolated to this network's number of patches."""
        if "encoder.pos_embedding" not in state:
            return state  # load_backbone reports it
        return dict(interpolate_embeddings(self.image_size, self.patch_size, dict(state)))


def _is_small(shape: Shape) -> bool:
    return min(shape[:2]) < SMALL_STEM_BELOW


def _replace_first(
    network: nn.Module, name: str, in_channels: int, small: bool, init: Callable[[torch.Tensor], Any]
) -> None:
    """Replaces the first convolution to suit `in_channels`; if small, by one of 3x3 with stride 1."""
    old = network.get_submodule(name)
    assert isinstance(old, nn.Conv2d)  # noqa: S101  # narrows the type
    if not small and in_channels == old.in_channels:
        return
    new = nn.Conv2d(
        in_channels,
        old.out_channels,
        kernel_size=3 if small else (old.kernel_size[0], old.kernel_size[1]),
        stride=1 if small else (old.stride[0], old.stride[1]),
        padding=1 if small else old.padding,  # type: ignore[arg-type]  # a pair, as torch made it
        bias=old.bias is not None,
    )
    init(new.weight)
    if new.bias is not None:
        nn.init.zeros_(new.bias)
    network.set_submodule(name, new)


def _leave_out_strides(network: nn.Module) -> None:
    """Sets the first two strides of 2 to 1."""
    strided = [m for m in network.modules() if isinstance(m, nn.Conv2d) and m.stride == (2, 2)]
    for convolution in strided[:2]:
        convolution.stride = (1, 1)


def _default_weights(name: str) -> pretrained.State:
    weights = torchvision.models.get_model_weights(name).DEFAULT
    try:
        return dict(weights.get_state_dict(progress=True, check_hash=True))
    except (URLError, OSError, RuntimeError) as error:  # RuntimeError: the digest differs
        raise UserError(
            f"train.model.weights: DEFAULT could not be downloaded from {weights.url} ({error}); "
            "give the path of a local file, or null"
        ) from None
