"""Initialisation of a network's last layer, such that it prefers no class at the start."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def init_head(head: nn.Module, pretrained: bool) -> None:
    """Initialises a new last layer such that the first loss is about ln K, whichever library created the layer.

    On pretrained features it starts at zero (as in Kolesnikov et al. 2020, BiT): all classes are equally probable, and
    the first gradients that reach the backbone do not depend on a random head. In a network with random weights it
    keeps its library's initialisation, unless that has a larger range than the default of `nn.Linear`: torchvision's
    and timm's EfficientNet draw from ±1/sqrt(classes) regardless of the number of features, so that with few classes
    the first loss is several times ln K.

    Args:
        head: The last layer, from the embedding to the logits.
        pretrained: Whether the rest of the network starts with pretrained weights.
    """
    if pretrained:
        for parameter in head.parameters():
            parameter.zero_()
    # A tensor on the meta device has a shape but no values.
    elif isinstance(head, nn.Linear) and not head.weight.is_meta and head.weight.std() > head.in_features**-0.5:
        head.reset_parameters()  # uniform in ±1/sqrt(features): a standard deviation of 0.58/sqrt(features)
