"""Outlier exposure: pictures of none of the classes in training, for which a network learns to be undecided."""

from __future__ import annotations

import numpy as np
import torch

from sightline.core import seeds
from sightline.datasets.processed_set import Split
from sightline.imaging.augment import draws


class OutlierExposure:
    """Hendrycks, Mazeika and Dietterich (2019), "Deep anomaly detection with outlier exposure".

    Args:
        pictures: The pictures.
        weight: Of their loss, beside that of the labelled images.
        seed: The run's seed.
    """

    def __init__(self, pictures: Split, weight: float, seed: int) -> None:
        self.weight = weight
        self._pictures = pictures
        self._seed = seed
        self._hashes = draws.sample_hashes(pictures.ids)

    def batch(self, count: int, epoch: int, place: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns pictures and the keys that their random draws are a function of, on the CPU.

        Args:
            count: Number of pictures, at most as many as there are.
            epoch: The epoch.
            place: Of the batch in it, and of the process: the pictures are a function of these and the seed.
        """
        random = np.random.default_rng(seeds.derive(self._seed, "unknown", epoch, *place))
        drawn = random.choice(len(self._pictures), min(count, len(self._pictures)), replace=False)
        keys = draws.keys(self._hashes[drawn], self._seed, epoch)
        return torch.from_numpy(self._pictures.images(drawn)), torch.from_numpy(keys)


def undecided_loss(logits: torch.Tensor) -> torch.Tensor:
    """Returns the mean cross-entropy of logits [n, K] against the same probability for all classes."""
    return -torch.log_softmax(logits.float(), dim=1).mean()
