"""A plain dense network: the baseline that a convolution has to beat."""

from __future__ import annotations

import itertools

import torch
from torch import nn


class DenseNet(nn.Module):
    """Pixels flattened into fully connected layers with ReLU.

    Args:
        in_features: Height times width times channels.
        num_classes: Number of logits.
        hidden: Units of each hidden layer.
        dropout: Probability of dropping a unit after each hidden layer.
    """

    def __init__(self, in_features: int, num_classes: int, hidden: list[int], dropout: float) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Flatten()]
        for units_in, units_out in itertools.pairwise([in_features, *hidden]):
            layers += [nn.Linear(units_in, units_out), nn.ReLU(), nn.Dropout(dropout)]
        layers.append(nn.Linear([in_features, *hidden][-1], num_classes))
        self.layers = nn.Sequential(*layers)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Maps [N, C, H, W] float images to [N, num_classes] logits."""
        logits: torch.Tensor = self.layers(images)
        return logits
