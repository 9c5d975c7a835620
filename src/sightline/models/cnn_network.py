"""A small convolutional network."""

from __future__ import annotations

import torch
from torch import nn


class CnnNetwork(nn.Module):
    """Blocks of two 3x3 convolutions with batch norm, ReLU and max pooling; global average; dense layers.

    The head averages over height and width, so the number of parameters does not depend on the image size. The
    average is `mean`, because the backward pass of `adaptive_avg_pool2d` is not deterministic on CUDA.

    Args:
        in_channels: Channels of the input.
        num_classes: Number of logits.
        width: Channels of the first block, doubled by each further block.
        blocks: Number of blocks; each halves height and width (rounded up).
        hidden: Units of the dense layer.
        dropout: Probability of dropping a unit of the dense layer.
        half: Whether the first convolution has stride 2. The last block then has no pooling, so that the final size
            stays the same.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        width: int,
        blocks: int,
        hidden: int,
        dropout: float,
        half: bool = False,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = in_channels
        for block in range(blocks):
            out = width * 2**block
            for _ in range(2):
                stride = 2 if half and not layers else 1
                layers += [nn.Conv2d(channels, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]
                channels = out
            if not half or block < blocks - 1:
                layers.append(nn.MaxPool2d(2, ceil_mode=True))
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.Linear(channels, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, num_classes)
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Maps [N, C, H, W] float images to [N, num_classes] logits."""
        features = self.features(images).mean(dim=(2, 3))
        logits: torch.Tensor = self.head(features)
        return logits
