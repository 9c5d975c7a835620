"""Wide residual networks: few layers, many channels."""

from __future__ import annotations

import torch
from torch import nn


class _Block(nn.Module):
    """Batch norm and ReLU before each of two 3x3 convolutions (He et al. 2016, "Identity mappings"), plus the input.

    If the shape changes, the shortcut is a 1x1 convolution of the activated input.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.shortcut: nn.Module | None = None
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        active = torch.relu(self.norm1(images))
        kept = images if self.shortcut is None else self.shortcut(active)
        inner = self.dropout(torch.relu(self.norm2(self.conv1(active))))
        out: torch.Tensor = kept + self.conv2(inner)
        return out


class WideResNetwork(nn.Module):
    """WRN-depth-widen_factor (Zagoruyko and Komodakis 2016, arXiv 1605.07146).

    Three groups of (depth - 4) / 6 blocks with 16k, 32k and 64k channels, the second and third halving height and
    width. WRN-28-10 has 36.5 million parameters, WRN-40-4 8.9 million.

    Args:
        in_channels: Channels of the input.
        num_classes: Number of logits.
        depth: 6n + 4.
        widen_factor: k.
        dropout: Probability of dropping an activation between a block's convolutions.
    """

    def __init__(self, in_channels: int, num_classes: int, depth: int, widen_factor: int, dropout: float) -> None:
        super().__init__()
        channels = 16
        self.stem = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        blocks: list[nn.Module] = []
        for group in range(3):
            out = 16 * 2**group * widen_factor
            for number in range((depth - 4) // 6):
                blocks.append(_Block(channels, out, stride=2 if group and not number else 1, dropout=dropout))
                channels = out
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.BatchNorm2d(channels)
        self.head = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # as in the authors' code
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.head.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Maps [N, C, H, W] float images to [N, num_classes] logits."""
        maps = torch.relu(self.norm(self.blocks(self.stem(images))))
        # `mean`, because the backward pass of adaptive_avg_pool2d is not deterministic on CUDA.
        logits: torch.Tensor = self.head(maps.mean(dim=(2, 3)))
        return logits
