"""Weights of classes in the loss."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

EFFECTIVE_BETA = 0.999


def class_weights(labels: npt.NDArray[np.int64], classes: int, kind: str) -> torch.Tensor | None:
    """Returns [K] float32 weights with mean 1 over the classes that occur and 0 for classes without images.

    Args:
        labels: [n] class indices of the training split.
        classes: Number of classes K.
        kind: "none", for which None is returned; "inverse" of the class's frequency; or "effective": (1 - b) /
            (1 - b^n) with b = 0.999 for a class of n images (Cui et al. 2019, "Class-balanced loss based on effective
            number of samples").
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
