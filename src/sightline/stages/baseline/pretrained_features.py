"""Features of images from a pretrained network, for baseline methods."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sightline.metrics.base import Floats
from sightline.stages.baseline.features import Features

if TYPE_CHECKING:
    from sightline.datasets.processed_set import Images
    from sightline.models.frozen_features import FrozenFeatures


class PretrainedFeatures:
    """Embeddings of images from a network with the weights of an installed package.

    Args:
        network: Its name, a key of `models.packaged_weights.DISTRIBUTIONS`.
        num_classes: Number of classes of the whole set. It makes the network identical to the one that training starts
            with, so that features are shared through the cache.
        threads: Number of CPU threads.
    """

    def __init__(self, network: str, num_classes: int, threads: int) -> None:
        self._network, self._num_classes, self._threads = network, num_classes, threads
        self._frozen: FrozenFeatures | None = None

    def fit(self, images: Images) -> Features:
        """Returns the features of training images; the first call sets the channels' means and standard deviations."""
        if self._frozen is not None:
            return self(images)
        import torch

        from sightline.models.architectures.efficientnet_lite import EfficientNetLite
        from sightline.models.classifier import build_classifier
        from sightline.models.frozen_features import FrozenFeatures
        from sightline.models.packaged_weights import PACKAGE

        option = EfficientNetLite(self._network, PACKAGE, drop_rate=0.0, drop_path_rate=0.0)
        torch.set_num_threads(self._threads)
        mean, std = (np.round(values, 6).tolist() for values in _moments(images))
        self._frozen = FrozenFeatures(build_classifier(option, images.shape[1:], self._num_classes, mean, std))
        return self(images)

    def __call__(self, images: Images) -> Features:
        """Returns the embeddings, [n, D]."""
        from sightline.models.frozen_features import batches_of

        if self._frozen is None:
            raise RuntimeError("fit() comes first: it builds the network")
        return self._frozen(batches_of(images), len(images))


def _moments(images: Images) -> tuple[Floats, Floats]:
    """Returns mean and standard deviation of each channel in 0..1, as in the preprocessing transform."""
    levels = np.arange(256)
    counts = np.stack([np.bincount(images[..., c].reshape(-1), minlength=256) for c in range(images.shape[3])])
    mean = counts @ levels / counts.sum(axis=1)
    return mean / 255, np.sqrt(counts @ levels**2 / counts.sum(axis=1) - mean**2) / 255
