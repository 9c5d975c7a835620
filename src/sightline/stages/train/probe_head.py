"""The linear probe's solution as a network's head."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from threadpoolctl import threadpool_limits
from torch import nn

from sightline.datasets.processed_set import ProcessedSet, Split
from sightline.metrics.base import Labels
from sightline.models import linear_probe
from sightline.models.classifier import Classifier
from sightline.models.frozen_features import BATCH, Features, FrozenFeatures
from sightline.stages.train.class_weights import class_weights
from sightline.stages.train.config import TrainConfig

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ProbeTuning:
    """Settings for choosing the penalty, in the same way as the baseline stage does for its methods.

    Attributes:
        seed: Seed of the folds.
        folds: Number of folds of the cross-validation on training images.
        tuning_images: Maximum number of images used for it, sampled evenly from all classes.
    """

    seed: int
    folds: int = 3
    tuning_images: int = 2000


def split_features(frozen: FrozenFeatures, split: Split, rows: npt.NDArray[np.int64]) -> Features:
    """Returns the features [n, D] of some rows of a split."""
    starts = range(0, len(rows), BATCH)
    return frozen((split.images(rows[start : start + BATCH]) for start in starts), len(rows))


def start_head(classifier: Classifier, data: ProcessedSet, config: TrainConfig, device: torch.device) -> None:
    """Sets a pretrained network's head to the linear probe's solution on the training split, and logs its settings.

    Augmented copies are left out: with an image in one fold and its copy in another, cross-validation would be too
    optimistic.
    """
    head = classifier.head
    if not isinstance(head, nn.Linear):
        raise TypeError(f"a probe's head is one linear layer, not {type(head).__name__}")

    def weigh(labels: Labels) -> npt.NDArray[np.float32] | None:
        weights = class_weights(labels, int(labels.max()) + 1, config.class_weights)
        return None if weights is None else weights.numpy()[labels]

    split, rows = data.split("train"), data.originals("train")
    features = split_features(FrozenFeatures(classifier, device), split, rows)
    classifier.train()
    with threadpool_limits(config.threads):  # their number affects the last bits
        found = linear_probe.solve(features, split.labels[rows], len(data.classes), ProbeTuning(config.seed), weigh)
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(found.weight))
        if head.bias is not None:
            head.bias.copy_(torch.from_numpy(found.bias))
    for note in found.notes:
        _log.info(f"train: probe: {note}")
    chosen = "  ".join(f"{name} {value:g}" for name, value in found.parameters.items())
    _log.info(f"train: the linear probe is the head: {chosen}")
