"""A network with its normalisation: uint8 pixels in, logits out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Self

import torch
from torch import nn

from sightline.models.head_init import init_head
from sightline.models.options import ModelOption, PretrainableOption


class Classifier(nn.Module):
    """Normalises uint8 images and passes them through a network.

    Normalisation is part of the model, so that no caller, and no exported file, can get it wrong.

    Args:
        network: Maps normalised float32 [N, C, H, W] images to logits [N, K].
        mean: Per-channel mean of the training pixels, in 0..1.
        std: Per-channel standard deviation, in 0..1; a constant channel's 0 counts as 1.
        head: Name of the network's last layer, from the embedding to the logits; all else is the backbone.

    Attributes:
        frozen_norms: Batch norms that stay in evaluation mode; see `models.parameter_groups.freeze`.
    """

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(
        self, network: nn.Module, mean: Sequence[float], std: Sequence[float], head: str | None = None
    ) -> None:
        super().__init__()
        self.network = network
        self.head_name = head
        self.frozen_norms: list[nn.Module] = []
        shape = (1, len(mean), 1, 1)
        self.register_buffer("mean", (torch.tensor(mean, dtype=torch.float64) * 255).float().view(shape))
        scale = 1 / (torch.tensor([s if s > 0 else 1.0 for s in std], dtype=torch.float64) * 255)
        self.register_buffer("scale", scale.float().view(shape))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Maps uint8 images [N, H, W, C] to float32 logits [N, K].

        The permuted tensor is a view in channels-last memory format, which is the faster format for convolutions.
        """
        pixels = images.permute(0, 3, 1, 2).float()
        logits: torch.Tensor = self.network((pixels - self.mean) * self.scale)
        return logits

    @property
    def head(self) -> nn.Module:
        """The network's last layer."""
        if self.head_name is None:
            raise ValueError("this classifier was made without naming its network's head")
        return self.network.get_submodule(self.head_name)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Maps uint8 images [N, H, W, C] to their embeddings, float32 [N, D]: the inputs of the head.

        Call it in evaluation mode; in training mode, dropout may be active.
        """
        with self.watched_embeddings() as seen:
            self(images)
        return seen[0].float()

    @contextlib.contextmanager
    def watched_embeddings(self) -> Iterator[list[torch.Tensor]]:
        """Yields a list to which each forward pass within the block appends its embeddings (head inputs), [N, D]."""
        seen: list[torch.Tensor] = []
        hook = self.head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        try:
            yield seen
        finally:
            hook.remove()

    def train(self, mode: bool = True) -> Self:
        """Sets the mode of every module but the frozen norms."""
        super().train(mode)
        for norm in self.frozen_norms:
            norm.eval()
        return self


def build_classifier(
    option: ModelOption, shape: tuple[int, int, int], num_classes: int, mean: Sequence[float], std: Sequence[float]
) -> Classifier:
    """Builds the network of a model option, with random weights, or with pretrained weights and a new head.

    Args:
        option: An option of `models.options.MODELS`.
        shape: (height, width, channels) of the images.
        num_classes: Number of classes.
        mean: Per-channel mean of the training pixels, in 0..1.
        std: Per-channel standard deviation, in 0..1.
    """
    network = option.build(shape, num_classes)
    head = option.head(network)
    if isinstance(option, PretrainableOption):
        init_head(network.get_submodule(head), pretrained=option.weights is not None)
    return Classifier(network, mean, std, head).to(memory_format=torch.channels_last)
