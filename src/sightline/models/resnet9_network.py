"""A nine-layer residual network that trains fast on small images."""

from __future__ import annotations

import torch
from torch import nn


def _block(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False), nn.BatchNorm2d(out_channels), nn.ReLU()
    )


class _Residual(nn.Module):
    """Two blocks, added to their input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(_block(channels, channels), _block(channels, channels))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = images + self.blocks(images)
        return out


def _halving() -> nn.MaxPool2d:
    return nn.MaxPool2d(2, ceil_mode=True)  # ceil_mode: keeps the last row and column of an odd size


class ResNet9Network(nn.Module):
    """Blocks of 3x3 convolution, batch norm and ReLU, two of the stages with a residual branch; one global pooling.

    The architecture of David Page's entry to Stanford's DAWNBench ("How to train your ResNet", 2018), with 6.6 million
    parameters at width 64. The final maps (4x4 for 32x32 images) are pooled by a reduction, which works for any image
    size and, unlike the adaptive pooling layers, has a deterministic backward pass on CUDA.

    Args:
        in_channels: Channels of the input.
        num_classes: Number of logits.
        width: Channels of the first block; the others have 2, 4 and 8 times as many.
        pool: "max" or "mean", over height and width.
        scale: Factor of the logits.
    """

    def __init__(self, in_channels: int, num_classes: int, width: int, pool: str, scale: float) -> None:
        super().__init__()
        self.pool = pool
        self.scale = scale
        self.blocks = nn.Sequential(
            _block(in_channels, width),
            _block(width, 2 * width),
            _halving(),
            _Residual(2 * width),
            _block(2 * width, 4 * width),
            _halving(),
            _block(4 * width, 8 * width),
            _halving(),
            _Residual(8 * width),
        )
        self.head = nn.Linear(8 * width, num_classes, bias=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Maps [N, C, H, W] float images to [N, num_classes] logits."""
        maps = self.blocks(images)
        embedding = maps.amax(dim=(2, 3)) if self.pool == "max" else maps.mean(dim=(2, 3))
        logits: torch.Tensor = self.head(embedding) * self.scale
        return logits
