"""Batches from memory-mapped shards, identical for any number of workers."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset

from sightline.config.schema import Option
from sightline.datasets.processed_set import Split
from sightline.imaging.augment import albumentations_backend, draws
from sightline.imaging.augment.albumentations_backend import Augmentation
from sightline.stages.train.samplers import EpochBatchSampler, Key

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""uint8 images [n, H, W, C], int64 labels [n] or float32 targets [n, K], and int64 keys [n] that seed random draws."""

_POSITIVE = 2**63 - 1


class SampleDataset(Dataset[Batch]):
    """A split as whole batches: `__getitems__` gathers and augments all samples of a batch at once.

    Args:
        split: The rows.
        seed: The run's seed.
        augment: Augmentation policy for every image; None for no augmentation.
        targets: [n, K] shares of the classes to use instead of the labels; None to use the labels.
    """

    def __init__(
        self,
        split: Split,
        seed: int,
        augment: Option | None = None,
        targets: npt.NDArray[np.float32] | None = None,
    ) -> None:
        self.split = split
        self.seed = seed
        self.augment = augment
        self.targets: npt.NDArray[Any] = split.labels if targets is None else targets

    @property
    def augments(self) -> bool:
        """Whether the dataset augments images, one at a time."""
        return self.augment is not None and self.augment.name != "none"

    @property
    def bytes_each(self) -> int:
        """Size of an image in bytes."""
        height, width, channels = self.split.shape
        return height * width * channels

    @cached_property
    def _augmentation(self) -> Augmentation | None:
        # Built in the process that needs it, since transforms cannot be pickled.
        return None if self.augment is None else albumentations_backend.build(self.augment, self.split.shape)

    def __getstate__(self) -> dict[str, Any]:
        return {"split": self.split, "seed": self.seed, "augment": self.augment, "targets": self.targets}

    @cached_property
    def hashes(self) -> npt.NDArray[np.int64]:
        """[n] hashes of the samples' ids."""
        return draws.sample_hashes(self.split.ids)

    def __len__(self) -> int:
        return len(self.split)

    def __getitems__(self, places: list[Key]) -> Batch:
        """Returns the batch of these samples, all of one epoch."""
        epoch = places[0][0]
        positions = np.fromiter((position for _, position in places), np.int64, len(places))
        images = self.split.images(positions)
        keys = draws.keys(self.hashes[positions], self.seed, epoch)
        if self._augmentation is not None:
            for row, key in enumerate(keys.tolist()):
                images[row] = self._augmentation(images[row], key & _POSITIVE)
        return torch.from_numpy(images), torch.from_numpy(self.targets[positions]), torch.from_numpy(keys)


class TimedDataLoader(DataLoader[Batch]):
    """A data loader that measures how long its consumer waits.

    Attributes:
        batches: The sampler of the batches' rows.
        waited: Seconds that the consumer has spent waiting for batches since it was last set to 0.
    """

    batches: EpochBatchSampler
    waited = 0.0

    def __iter__(self) -> Any:
        return _timed(self, super().__iter__())


class DirectLoader:
    """Yields the same batches without torch's per-batch overhead, which exceeds the time to gather a small batch.

    It does not augment images; if they are augmented, the network's module does it for whole batches.

    Args:
        samples: The split.
        batches: The sampler of the batches' rows.
        device: The device that holds all images from the first batch on: a GPU, which saves copying batches, or the
            CPU's memory. None leaves the images in their files.

    Attributes:
        waited: As in `TimedDataLoader`.
    """

    def __init__(self, samples: SampleDataset, batches: EpochBatchSampler, device: torch.device | None = None) -> None:
        self.samples = samples
        self.batches = self.batch_sampler = batches  # Lightning finds the sampler by the name `batch_sampler`
        self.device = device
        self.waited = 0.0

    @cached_property
    def _images(self) -> npt.NDArray[np.uint8] | torch.Tensor | None:
        if self.device is None:
            return None
        images = self.samples.split.images()
        return images if self.device.type == "cpu" else torch.from_numpy(images).to(self.device)

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        return _timed(self, self._gathered())

    def _gathered(self) -> Iterator[Batch]:
        split, images = self.samples.split, self._images
        order = self.batches.sampler.order()
        # Small enough to compute for the whole epoch at once; only images are gathered batch by batch.
        keys = draws.keys(self.samples.hashes[order], self.samples.seed, self.batches.sampler.epoch)
        all_labels, all_keys = torch.from_numpy(self.samples.targets[order]), torch.from_numpy(keys)
        if isinstance(images, torch.Tensor):
            all_labels, all_keys = all_labels.to(images.device), all_keys.to(images.device)
            places = torch.from_numpy(order).to(images.device)
            for part in self.batches.slices():
                yield images.index_select(0, places[part]), all_labels[part], all_keys[part]
        elif images is not None:
            for part in self.batches.slices():  # `take` is faster than indexing and than torch's index_select
                yield torch.from_numpy(images.take(order[part], 0)), all_labels[part], all_keys[part]
        else:
            for part in self.batches.slices():
                yield torch.from_numpy(split.images(order[part])), all_labels[part], all_keys[part]


def _timed(loader: TimedDataLoader | DirectLoader, batches: Iterator[Batch]) -> Iterator[Batch]:
    while True:
        started = time.perf_counter()
        try:
            batch = next(batches)
        except StopIteration:
            return
        finally:
            loader.waited += time.perf_counter() - started
        yield batch


def _as_is(batch: Any) -> Any:
    """Collates nothing, since `__getitems__` already returns a batch."""
    return batch


def _end_with_training(_worker: int) -> None:
    """Initialises a worker process so that it ends when the training process does, even if that is killed.

    Torch's workers check every few seconds that their parent is alive. If Python starts workers from a fork server (its
    default from 3.14 on), that server is their parent and lives as long as it has workers: neither would ever end.
    """

    def watch() -> None:
        if training := multiprocessing.parent_process():
            training.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def loader(samples: SampleDataset, batches: EpochBatchSampler, num_workers: int) -> TimedDataLoader:
    """Returns a data loader over `samples`, whose batches do not depend on the number of workers."""
    made = TimedDataLoader(
        samples,
        batch_sampler=batches,
        collate_fn=_as_is,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_end_with_training,
    )
    made.batches = batches
    return made
