"""The start of a network's last layer: no answer is preferred before there is a reason."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def init_head(head: nn.Module, pretrained: bool) -> None:
    """Brings a new last layer to a start from which the first loss is about ln K, whatever library made it.

    On pretrained features it starts at zero (as in Kolesnikov et al. 2020, BiT): every class is as probable as any, and
    the first gradients that reach the backbone are not those of random answers. From random weights it stays as its
    library made it, unless that is wider than `nn.Linear`'s own start: torchvision's and timm's EfficientNet draw
    from ±1/sqrt(classes) whatever the number of features, which with few classes makes the first loss several times
    ln K.

    Args:
        head: The last layer, from the embedding to the logits.
        pretrained: Whether the network below it begins with weights of others.
    """
    if pretrained:
        for parameter in head.parameters():
            parameter.zero_()
    # A tensor on the meta device has a shape and no numbers.
    elif isinstance(head, nn.Linear) and not head.weight.is_meta and head.weight.std() > head.in_features**-0.5:
        head.reset_parameters()  # uniform in ±1/sqrt(features): a deviation of 0.58/sqrt(features)
