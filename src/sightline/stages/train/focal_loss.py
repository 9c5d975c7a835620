"""The focal loss."""

from __future__ import annotations

import torch
from torch import nn


class FocalLoss(nn.Module):
    """Mean of -(1 - p)^gamma log p over the true class's probability p (Lin et al. 2017, equation 4).

    For soft targets, it is the sum over classes, weighted by their shares. Class weights work as in torch's
    cross-entropy: a weighted mean for class indices, and for soft targets the sum of weighted terms divided by the
    number of images.

    Args:
        gamma: Focusing parameter, at least 0.
        weight: [K] class weights, or None.
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
