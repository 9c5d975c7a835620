"""Features of images by a pretrained network, for the baseline methods that classify them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sightline.metrics.base import Floats
from sightline.stages.baseline.features import Features

if TYPE_CHECKING:
    from sightline.datasets.processed_set import Images
    from sightline.models.frozen_features import FrozenFeatures


class PretrainedFeatures:
    """The embeddings of images, by a network with the weights of an installed package.

    Args:
        network: Its name, of `models.packaged_weights.DISTRIBUTIONS`.
        num_classes: Of the whole set: with it, the network is the one that training begins with, and what was computed
            there is not computed here again.
        threads: CPU threads.
    """

    def __init__(self, network: str, num_classes: int, threads: int) -> None:
        self._network, self._num_classes, self._threads = network, num_classes, threads
        self._frozen: FrozenFeatures | None = None

    def fit(self, images: Images) -> Features:
        """Returns the features of training images; those of the first call give means and deviations of channels."""
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
        """Returns the embeddings [n, D]."""
        from sightline.models.frozen_features import batches_of

        if self._frozen is None:
            raise RuntimeError("fit() comes first: it builds the network")
        return self._frozen(batches_of(images), len(images))


def _moments(images: Images) -> tuple[Floats, Floats]:
    """Returns mean and standard deviation of each channel, in 0..1, as the preprocessing transform states them."""
    levels = np.arange(256)
    counts = np.stack([np.bincount(images[..., c].reshape(-1), minlength=256) for c in range(images.shape[3])])
    mean = counts @ levels / counts.sum(axis=1)
    return mean / 255, np.sqrt(counts @ levels**2 / counts.sum(axis=1) - mean**2) / 255
