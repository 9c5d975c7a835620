"""Linear probe: a logistic regression on the features of a frozen network, converted to weights of its head."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sightline.metrics.base import Floats, Labels
from sightline.models.tuned_estimator import Features, Settings, TunedEstimator, TuningConfig

GRID = [{"C": c} for c in (1e-4, 1e-3, 1e-2, 1e-1)]
"""Candidates for the inverse strength of the L2 penalty on the weights of standardised features."""
ITERATIONS = 300
"""Maximum number of L-BFGS iterations."""
UNSEEN = -20.0
"""Logit of a class without a training image."""

ImageWeights = Callable[[Labels], npt.NDArray[np.floating[Any]] | None]
"""Labels [n] -> the weight of each image [n], or None for equal weights."""


@dataclass(frozen=True)
class ProbeSolution:
    """A fitted probe.

    Attributes:
        weight: [K, D] weights of the head.
        bias: [K] biases of the head.
        parameters: The penalty, and the number of images and folds that it was chosen with.
        notes: Remarks for the user, one line each.
    """

    weight: Features
    bias: Features
    parameters: dict[str, Any]
    notes: list[str]

    def scores(self, features: Features) -> Floats:
        """Returns the logits [n, K] of features [n, D]."""
        return np.asarray(features.astype(np.float64) @ self.weight.T.astype(np.float64) + self.bias)


def solve(
    features: Features, labels: Labels, classes: int, config: TuningConfig, weigh: ImageWeights = lambda _: None
) -> ProbeSolution:
    """Fits a multinomial logistic regression to standardised features, with an L2 penalty chosen by cross-validation.

    Args:
        features: [n, D].
        labels: [n] class indices.
        classes: Number of classes K; some may have no images.
        config: Settings of the search for the penalty.
        weigh: Returns the images' weights, for weighted classes.
    """
    mean, std = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
    std = np.where(std > 1e-6, std, 1.0)  # a constant feature

    def fit(some: Features, truth: Labels, settings: Settings) -> Any:
        return _regression(some, truth, settings["C"], weigh)

    tuned = TunedEstimator(fit, GRID, config, classes)
    tuned.fit(((features - mean) / std).astype(np.float32), labels)
    weight, bias = np.zeros((classes, features.shape[1])), np.full(classes, UNSEEN)
    seen = np.unique(labels)
    bias[seen] = 0
    if tuned.estimator is not None:
        slopes, offsets = np.asarray(tuned.estimator.coef_), np.asarray(tuned.estimator.intercept_)
        if len(seen) == 2:  # one row: the second class relative to the first
            slopes, offsets = np.vstack([-slopes, slopes]) / 2, np.concatenate([-offsets, offsets]) / 2
        weight[seen] = slopes / std / tuned.temperature
        bias[seen] = offsets / tuned.temperature - weight[seen] @ mean
    return ProbeSolution(weight.astype(np.float32), bias.astype(np.float32), tuned.parameters(), tuned.notes)


def _regression(features: Features, labels: Labels, strength: float, weigh: ImageWeights) -> Any:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # see ITERATIONS
        regression = LogisticRegression(C=strength, max_iter=ITERATIONS)
        return regression.fit(features, labels, sample_weight=weigh(labels))
