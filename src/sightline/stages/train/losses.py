"""Losses on logits and targets, hard or soft, with class weights."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from sightline.config.schema import Option
from sightline.stages.train.options import CrossEntropy, Focal

EFFECTIVE_BETA = 0.999


def class_weights(labels: npt.NDArray[np.int64], classes: int, kind: str) -> torch.Tensor | None:
    """Returns [K] float32 weights of mean 1 over the classes that occur; a class without images weighs 0.

    Args:
        labels: [n] class indices of the training split.
        classes: Number of classes K.
        kind: "none"; "inverse" of the class's frequency; or "effective": (1 - b) / (1 - b^n) with b = 0.999 for a
            class of n images (Cui et al. 2019, "Class-balanced loss based on effective number of samples").
    """
    if kind == "none":
        return None
    counts = np.bincount(labels, minlength=classes).astype(np.float64)
    seen = counts > 0
    weights = np.zeros(classes)
    if kind == "inverse":
        weights[seen] = 1 / counts[seen]
    else:
        weights[seen] = (1 - EFFECTIVE_BETA) / (1 - EFFECTIVE_BETA ** counts[seen])
    return torch.from_numpy(weights / weights[seen].mean()).float()


class FocalLoss(nn.Module):
    """Mean of -(1 - p)^gamma log p over the true class's probability p (Lin et al. 2017, equation 4).

    For soft targets, the sum over classes by their shares. With weights, as torch's cross-entropy has it: the weighted
    mean for class indices, the sum of the weighted terms by the number of images for soft targets.

    Args:
        gamma: Focus.
        weight: [K] class weights.
    """

    weight: torch.Tensor | None

    def __init__(self, gamma: float, weight: torch.Tensor | None = None) -> None:
        super().__init__()
        self.gamma = gamma
        self.register_buffer("weight", weight, persistent=False)

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Returns the loss of logits [N, K] and targets: int64 [N], or shares [N, K]."""
        soft = targets.ndim > 1
        if not soft:
            targets = nn.functional.one_hot(targets, logits.shape[1]).to(logits.dtype)
        log = nn.functional.log_softmax(logits, dim=1)
        terms = -targets * (1 - log.exp()) ** self.gamma * log
        if self.weight is None:
            return terms.sum() / len(logits)
        return (terms * self.weight).sum() / (len(logits) if soft else (targets * self.weight).sum())


def build_loss(option: Option, weight: torch.Tensor | None) -> nn.Module:
    """Builds the loss that an option describes, with class weights [K] or none."""
    match option:
        case CrossEntropy():
            return nn.CrossEntropyLoss(weight=weight, label_smoothing=option.label_smoothing)
        case Focal():
            return FocalLoss(option.gamma, weight)
        case _:
            raise TypeError(f"no loss for {type(option).__name__}")
