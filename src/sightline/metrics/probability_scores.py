"""Scores of each image's probabilities: log loss, Brier score, rank of the true class."""

from __future__ import annotations

import numpy as np

from sightline.metrics.base import Bools, Floats, Labels

LARGEST_LOSS = -float(np.log(np.finfo(np.float64).eps))
"""Log loss of an image whose true class got probability 0, which is clipped."""


def row_log_loss(labels: Labels, probabilities: Floats) -> Floats:
    """Returns -ln(probability of the true class), [n]; clipped to [eps, 1 - eps] as scikit-learn does."""
    eps = float(np.finfo(np.float64).eps)
    of_true = probabilities[np.arange(len(labels)), labels].clip(eps, 1 - eps)
    losses: Floats = -np.log(of_true)
    return losses


def row_brier(labels: Labels, probabilities: Floats) -> Floats:
    """Returns the squared distance of each row from the truth, [n]: 0..2, or 0..1 for two classes.

    Brier (1950), "Verification of forecasts expressed in terms of probability"; for two classes only one is counted, as
    is common (scikit-learn's `scale_by_half="auto"`).
    """
    of_true = probabilities[np.arange(len(labels)), labels]
    squares: Floats = (probabilities**2).sum(axis=1) - of_true**2 + (1 - of_true) ** 2
    return squares / 2 if probabilities.shape[1] == 2 else squares


def among_top_k(labels: Labels, probabilities: Floats, k: int) -> Bools:
    """Returns whether the true class of each row is among the `k` most probable, [n].

    Equal probabilities rank by index, as in `predicted_classes`, so that top-k accuracy is never below accuracy.
    """
    of_true = probabilities[np.arange(len(labels)), labels][:, None]
    earlier = np.arange(probabilities.shape[1]) < labels[:, None]
    rank = ((probabilities > of_true) | ((probabilities == of_true) & earlier)).sum(axis=1)
    among: Bools = rank < k
    return among
