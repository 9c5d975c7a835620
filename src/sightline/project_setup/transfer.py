"""The benefit of pretrained weights for a set of images: a linear probe compared with histograms of gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from sightline.datasets.raw_set import RawImage
from sightline.imaging.decode import decode
from sightline.models import packaged_weights

NETWORK = packaged_weights.IN_EXTRA
SIDE = 96
"""Pixels a side at which both look."""
MOST = 240
"""Images that are compared on."""
_FOLDS = 3
_BATCH = 50


@dataclass(frozen=True)
class ProbeTrial:
    """Accuracies in cross-validation on the same images, by the same logistic regression.

    Attributes:
        probe: On features of the pretrained network, frozen.
        hog: On histograms of oriented gradients.
    """

    probe: float
    hog: float


def probe_trial(images: Sequence[RawImage]) -> ProbeTrial | None:
    """Compares on a sample of images; None where there are no packaged weights, or too few images of a class."""
    if not packaged_weights.is_installed(NETWORK):
        return None
    chosen = images[:: -(-len(images) // MOST)]
    labels = np.unique([image.label for image in chosen], return_inverse=True)[1]
    if len(np.unique(labels)) < 2 or np.bincount(labels).min() < _FOLDS:
        return None
    import torch
    from threadpoolctl import threadpool_limits

    from sightline.stages.baseline.methods.hog_svm import hog

    batches = [_pixels(chosen[start : start + _BATCH]) for start in range(0, len(chosen), _BATCH)]
    gradients = np.concatenate([hog(batch, 6) for batch in batches])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # so that the result does not depend on the number of cores
    try:
        with threadpool_limits(1):
            return ProbeTrial(_accuracy(_features(batches), labels), _accuracy(gradients, labels))
    finally:
        torch.set_num_threads(threads)


def _pixels(images: Sequence[RawImage]) -> npt.NDArray[np.uint8]:
    small = [cv2.resize(decode(image.data), (SIDE, SIDE), interpolation=cv2.INTER_AREA) for image in images]
    return np.asarray(small, np.uint8)


def _features(batches: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float32]:
    """Returns the embeddings of the pretrained network, normalised as in training by the images' own moments."""
    import torch

    from sightline.models.classifier import build_classifier
    from sightline.models.options import MODELS

    option: Any = MODELS[NETWORK]
    option = option(name=NETWORK, weights=packaged_weights.PACKAGE, drop_rate=0.0, drop_path_rate=0.0)
    whole = np.concatenate(batches).reshape(-1, 3) / 255
    mean, std = whole.mean(axis=0).tolist(), whole.std(axis=0).tolist()
    network = build_classifier(option, (SIDE, SIDE, 3), 2, mean, std).eval()
    with torch.inference_mode():
        return np.concatenate([network.features(torch.from_numpy(batch)).numpy() for batch in batches])


def _accuracy(features: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> float:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    estimator = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=100))
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=0)
    return float(np.mean(cross_val_score(estimator, features, labels, cv=folds)))
