"""Outlier exposure: training on images of none of the classes, for which the network learns uniform probabilities."""

from __future__ import annotations

import numpy as np
import torch

from sightline.core import seeds
from sightline.datasets.processed_set import Split
from sightline.imaging.augment import draws


class OutlierExposure:
    """Hendrycks, Mazeika and Dietterich (2019), "Deep anomaly detection with outlier exposure".

    Args:
        pictures: The images of none of the classes.
        weight: Weight of their loss relative to that of the labelled images.
        seed: The run's seed.
    """

    def __init__(self, pictures: Split, weight: float, seed: int) -> None:
        self.weight = weight
        self._pictures = pictures
        self._seed = seed
        self._hashes = draws.sample_hashes(pictures.ids)

    def batch(self, count: int, epoch: int, place: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns images, [n, H, W, C] uint8, and the keys that seed their random draws, [n] int64, on the CPU.

        Args:
            count: Number of images; fewer are returned if there are not so many.
            epoch: The epoch.
            place: Numbers of the batch in the epoch and of the process, from which, with the seed, the draw is derived.
        """
        random = np.random.default_rng(seeds.derive(self._seed, "unknown", epoch, *place))
        drawn = random.choice(len(self._pictures), min(count, len(self._pictures)), replace=False)
        keys = draws.keys(self._hashes[drawn], self._seed, epoch)
        return torch.from_numpy(self._pictures.images(drawn)), torch.from_numpy(keys)


def undecided_loss(logits: torch.Tensor) -> torch.Tensor:
    """Returns the mean cross-entropy of logits [n, K] with a uniform target distribution."""
    return -torch.log_softmax(logits.float(), dim=1).mean()
