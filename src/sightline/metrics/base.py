"""Types shared by the metrics, validation of their input, predicted classes and the confusion matrix."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

DIGITS = 6
"""Decimal places of written values: more than any test set resolves, few enough to be stable in text."""

Labels = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Interval = tuple[float, float]


def require_probabilities(labels: Labels, probabilities: Floats) -> None:
    """Refuses labels and probabilities that no classifier may produce.

    Raises:
        ValueError: If shapes disagree, a label is no class, or a row is not a probability distribution.
    """
    if probabilities.ndim != 2 or len(labels) != len(probabilities):
        raise ValueError(f"{len(labels)} labels need [{len(labels)}, K] probabilities, not {probabilities.shape}")
    if len(labels) == 0:
        raise ValueError("there is nothing to score")
    if labels.min() < 0 or labels.max() >= probabilities.shape[1]:
        raise ValueError(f"labels must be in [0, {probabilities.shape[1]}), not {labels.min()} to {labels.max()}")
    # 1e-3, because softmax in bfloat16 is that coarse. The comparison is also false for NaN.
    if not (np.abs(probabilities.sum(axis=1) - 1) < 1e-3).all() or (probabilities < 0).any():
        raise ValueError("probabilities must be at least 0 and sum to 1 in each row")


def predicted_classes(probabilities: Floats) -> Labels:
    """Returns the most probable class of each row, [n] int64; the lowest index on ties."""
    most_probable: Labels = probabilities.argmax(axis=1).astype(np.int64)
    return most_probable


def confusion(labels: Labels, predicted: Labels, num_classes: int) -> Labels:
    """Returns counts [num_classes, num_classes]: rows are true classes, columns predicted ones."""
    pairs = np.bincount(labels * num_classes + predicted, minlength=num_classes**2)
    counts: Labels = pairs.reshape(num_classes, num_classes).astype(np.int64)
    return counts


def shared_by_ties(values: Floats, outcomes: Floats) -> Floats:
    """Gives rows with equal values the mean of their outcomes, so that results do not depend on an arbitrary order.

    Args:
        values: [n], sorted in either direction.
        outcomes: [n] numbers.

    >>> shared_by_ties(np.array([0.9, 0.8, 0.8]), np.array([1.0, 1.0, 0.0])).tolist()
    [1.0, 0.5, 0.5]
    """
    starts = np.flatnonzero(np.r_[True, values[1:] != values[:-1]])
    sizes = np.diff(np.r_[starts, len(values)])
    means: Floats = np.repeat(np.add.reduceat(outcomes, starts) / sizes, sizes)
    return means
