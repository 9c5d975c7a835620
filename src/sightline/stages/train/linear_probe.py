"""The linear probe: a logistic regression on the features of a frozen network, as that network's head."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from threadpoolctl import threadpool_limits
from torch import nn

from sightline.datasets.processed_set import ProcessedSet, Split
from sightline.metrics.base import Labels
from sightline.models.classifier import Classifier
from sightline.models.frozen_features import BATCH, Features, FrozenFeatures
from sightline.stages.baseline.tuning import Settings, TunedEstimator
from sightline.stages.train.class_weights import class_weights

GRID = [{"C": c} for c in (1e-4, 1e-3, 1e-2, 1e-1, 1.0)]
"""Inverse strengths of the L2 penalty on the weights, of standardised features, to choose from."""
ITERATIONS = 300
"""Of L-BFGS, at most."""
UNSEEN = -20.0
"""Logit of a class without a training image."""


@dataclass(frozen=True)
class ProbeTuning:
    """How the penalty is chosen: as the baseline stage chooses that of its methods.

    Attributes:
        seed: Of the folds.
        folds: Of the cross-validation on training images.
        tuning_images: At most so many, evenly of all classes, take part in it.
    """

    seed: int
    folds: int = 3
    tuning_images: int = 2000


@dataclass(frozen=True)
class ProbeSolution:
    """A fitted probe.

    Attributes:
        weight: [K, D] of the head.
        bias: [K] of the head.
        parameters: The penalty, and on how many images and folds it was chosen.
        notes: Remarks for the user, a line each.
    """

    weight: Features
    bias: Features
    parameters: dict[str, Any]
    notes: list[str]


def split_features(frozen: FrozenFeatures, split: Split, rows: npt.NDArray[np.int64]) -> Features:
    """Returns the features [n, D] of some rows of a split."""
    starts = range(0, len(rows), BATCH)
    return frozen((split.images(rows[start : start + BATCH]) for start in starts), len(rows))


def solve(
    features: Features, labels: Labels, classes: int, seed: int, weighting: str = "none", threads: int = 1
) -> ProbeSolution:
    """Fits a multinomial logistic regression to standardised features, its L2 penalty chosen by cross-validation.

    Args:
        features: [n, D].
        labels: [n] class indices.
        classes: Their number K; some may have no image.
        seed: Of the cross-validation's folds.
        weighting: Weights of classes, as `train.class_weights` has it.
        threads: CPU threads; the last bits depend on their number.
    """
    mean, std = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
    std = np.where(std > 1e-6, std, 1.0)  # a feature that says nothing

    def fit(some: Features, truth: Labels, settings: Settings) -> Any:
        return _regression(some, truth, settings["C"], weighting)

    tuned = TunedEstimator(fit, GRID, ProbeTuning(seed), classes)
    with threadpool_limits(threads):
        tuned.fit((features - mean) / std, labels)
    weight, bias = np.zeros((classes, features.shape[1])), np.full(classes, UNSEEN)
    seen = np.unique(labels)
    bias[seen] = 0
    if tuned.estimator is not None:
        slopes, offsets = np.asarray(tuned.estimator.coef_), np.asarray(tuned.estimator.intercept_)
        if len(seen) == 2:  # how much more the second than the first
            slopes, offsets = np.vstack([-slopes, slopes]) / 2, np.concatenate([-offsets, offsets]) / 2
        weight[seen] = slopes / std / tuned.temperature
        bias[seen] = offsets / tuned.temperature - weight[seen] @ mean
    return ProbeSolution(weight.astype(np.float32), bias.astype(np.float32), tuned.parameters(), tuned.notes)


def _regression(features: Features, labels: Labels, strength: float, weighting: str) -> Any:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    weights = class_weights(labels, int(labels.max()) + 1, weighting)
    each = None if weights is None else weights.numpy()[labels]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # see ITERATIONS
        return LogisticRegression(C=strength, max_iter=ITERATIONS).fit(features, labels, sample_weight=each)


def solve_for(
    classifier: Classifier, data: ProcessedSet, seed: int, weighting: str, threads: int, device: torch.device
) -> ProbeSolution:
    """Fits the probe of a network to the training split, and makes the solution its head.

    Augmented copies are left out: an image and its copy, one in each of two folds, would make the choice of the
    penalty an easy one.
    """
    split = data.split("train")
    rows = data.originals("train")
    features = split_features(FrozenFeatures(classifier, device), split, rows)
    solution = solve(features, split.labels[rows], len(data.classes), seed, weighting, threads)
    head = classifier.head
    if not isinstance(head, nn.Linear):
        raise TypeError(f"a probe's head is one linear layer, not {type(head).__name__}")
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(solution.weight))
        if head.bias is not None:
            head.bias.copy_(torch.from_numpy(solution.bias))
    return solution
