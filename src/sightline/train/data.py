"""Batches from memory-mapped shards, the same for any number of workers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from sightline import seeds
from sightline.augment import batch, policy
from sightline.augment.policy import Augmentation
from sightline.schema import Option
from sightline.shards import Split

Key = tuple[int, int]
"""(epoch, position in the split): all that a sample's randomness depends on, beside the seed."""
Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""uint8 images [n, H, W, C], int64 labels [n], and int64 keys [n] that the samples' random draws are a function of."""

_POSITIVE = 2**63 - 1


class Samples(Dataset[Batch]):
    """A split as whole batches: `__getitems__` gathers and augments all samples of a batch at once.

    Args:
        split: The rows.
        seed: The run's seed.
        augment: Augmentation policy for every image; None leaves them as they are.
    """

    def __init__(self, split: Split, seed: int, augment: Option | None = None) -> None:
        self.split = split
        self.seed = seed
        self.augment = augment

    @cached_property
    def _augmentation(self) -> Augmentation | None:
        # Built by whichever process needs it: transforms do not travel to another.
        return None if self.augment is None else policy.build(self.augment, self.split.shape)

    def __getstate__(self) -> dict[str, Any]:
        return {"split": self.split, "seed": self.seed, "augment": self.augment}

    @cached_property
    def _hashes(self) -> npt.NDArray[np.int64]:
        return batch.sample_hashes(self.split.ids)

    def __len__(self) -> int:
        return len(self.split)

    def __getitems__(self, where: list[Key]) -> Batch:
        """Returns the batch of these samples, which are of one epoch."""
        epoch = where[0][0]
        positions = np.fromiter((position for _, position in where), np.int64, len(where))
        images = self.split.images(positions)
        keys = batch.keys(self._hashes[positions], self.seed, epoch)
        if self._augmentation is not None:
            for row, key in enumerate(keys.tolist()):
                images[row] = self._augmentation(images[row], key & _POSITIVE)
        return torch.from_numpy(images), torch.from_numpy(self.split.labels[positions]), torch.from_numpy(keys)


class EpochSampler(Sampler[Key]):
    """An epoch's positions, as (epoch, position): each once, shuffled or in order; or drawn by their weights.

    Which come, and in what order, is a function of (seed, epoch) alone. Lightning calls `set_epoch`.

    Args:
        length: Number of positions.
        seed: The run's seed.
        shuffle: Whether to shuffle.
        weights: [length] probabilities to draw by, with replacement, instead of taking each once.
    """

    def __init__(self, length: int, seed: int, shuffle: bool, weights: npt.NDArray[np.float64] | None = None) -> None:
        self.length = length
        self.seed = seed
        self.shuffle = shuffle
        self.weights = weights
        self.epoch = 0
        self._skip = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def resume(self, epoch: int, skip: int) -> None:
        """Begins in `epoch`, after its first `skip` positions; later epochs are whole again."""
        self.epoch, self._skip = epoch, skip

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Key]:
        random = np.random.default_rng(seeds.derive(self.seed, "shuffle", self.epoch))
        if self.weights is not None:
            order = random.choice(self.length, self.length, p=self.weights)
        else:
            order = random.permutation(self.length) if self.shuffle else np.arange(self.length)
        skip, self._skip = self._skip, 0
        return iter([(self.epoch, position) for position in order[skip:].tolist()])


def balancing_weights(labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Returns [n] probabilities with which each class that occurs is drawn equally often."""
    weights: npt.NDArray[np.float64] = 1 / np.bincount(labels)[labels]
    weights /= weights.sum()
    return weights


class Loader(DataLoader[Batch]):
    """A data loader that knows how long it was waited for.

    Attributes:
        waited: Seconds that the caller has spent waiting for batches since it was last set to 0.
    """

    waited = 0.0

    def __iter__(self) -> Any:
        batches = super().__iter__()
        while True:
            started = time.perf_counter()
            try:
                batch = next(batches)
            except StopIteration:
                return
            finally:
                self.waited += time.perf_counter() - started
            yield batch


def _as_is(batch: Any) -> Any:
    """Collation: `__getitems__` has made the batch already."""
    return batch


def loader(
    samples: Samples,
    batch_size: int,
    shuffle: bool,
    num_workers: int,
    weights: npt.NDArray[np.float64] | None = None,
    drop_last: bool = False,
) -> Loader:
    """Returns a data loader over `samples`; what it yields does not depend on the number of workers."""
    return Loader(
        samples,
        batch_size=batch_size,
        drop_last=drop_last,
        sampler=EpochSampler(len(samples), samples.seed, shuffle, weights),
        collate_fn=_as_is,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        pin_memory=torch.cuda.is_available(),
    )
