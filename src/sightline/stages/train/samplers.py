"""Samplers: the order of an epoch's images, their batches, and each process's part of every batch."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler

from sightline.core import seeds

Key = tuple[int, int]
"""(epoch, position in the split): with the seed, everything that a sample's randomness depends on."""

Positions = npt.NDArray[np.int64]


class EpochSampler(Sampler[Key]):
    """An epoch's positions as (epoch, position): each once, shuffled or in order; or drawn with weights.

    The positions and their order depend only on (seed, epoch). Lightning calls `set_epoch`.

    Args:
        length: Number of positions.
        seed: The run's seed.
        shuffle: Whether to shuffle.
        weights: [length] probabilities for drawing with replacement, instead of taking each position once.
    """

    def __init__(self, length: int, seed: int, shuffle: bool, weights: npt.NDArray[np.float64] | None = None) -> None:
        self.length = length
        self.seed = seed
        self.shuffle = shuffle
        self.weights = weights
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length

    def order(self) -> Positions:
        """Returns the epoch's positions, [length] int64."""
        random = np.random.default_rng(seeds.derive(self.seed, "shuffle", self.epoch))
        if self.weights is not None:
            return random.choice(self.length, self.length, p=self.weights)
        return random.permutation(self.length) if self.shuffle else np.arange(self.length)

    def __iter__(self) -> Iterator[Key]:
        return iter([(self.epoch, position) for position in self.order().tolist()])


class EpochBatchSampler(Sampler[list[Key]]):
    """An epoch's keys in batches; with several processes, this process's part of each batch.

    Batches are divided among the processes into parts that differ by at most one image, so that the images of each step
    do not depend on the number of processes. A remainder too small to give each process two images (batch norm cannot
    train on one) is added to the batch before it: no image is omitted or repeated.

    Args:
        sampler: The order. Lightning calls its `set_epoch`.
        batch_size: Images per batch, over all processes.
        rank: This process's number, from 0.
        world: Number of processes.

    Attributes:
        sizes: Number of images in each batch, over all processes.
    """

    def __init__(self, sampler: EpochSampler, batch_size: int, rank: int = 0, world: int = 1) -> None:
        self.sampler = sampler
        self.rank = rank
        self.world = world
        whole, rest = divmod(len(sampler), batch_size)
        self.sizes = [batch_size] * whole
        if rest >= 2 * world or not whole:
            self.sizes += [rest] * bool(rest)
        else:
            self.sizes[-1] += rest
        self._skip = 0

    def resume(self, epoch: int, skip: int) -> None:
        """Resumes in `epoch`, after its first `skip` batches; later epochs are complete."""
        self.sampler.set_epoch(epoch)
        self._skip = skip

    def __len__(self) -> int:
        return len(self.sizes)

    def slices(self) -> list[slice]:
        """Returns the slice of the epoch's order of this process's part of each remaining batch."""
        skip, self._skip = self._skip, 0
        starts = list(itertools.accumulate(self.sizes, initial=0))
        parts = zip(starts[skip:], self.sizes[skip:], strict=False)
        return [
            slice(start + size * self.rank // self.world, start + size * (self.rank + 1) // self.world)
            for start, size in parts
        ]

    def __iter__(self) -> Iterator[list[Key]]:
        order, epoch = self.sampler.order(), self.sampler.epoch
        for part in self.slices():
            yield [(epoch, position) for position in order[part].tolist()]


def balancing_weights(labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Returns [n] probabilities that draw every class that occurs equally often."""
    weights: npt.NDArray[np.float64] = 1 / np.bincount(labels)[labels]
    weights /= weights.sum()
    return weights
