"""The task that makes augmented copies of rows of pixels: a pure function with the same result in every process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sightline.core import seeds
from sightline.imaging.augment import albumentations_backend as augment_policy
from sightline.imaging.augment import options as augment_options
from sightline.stages.preprocess.npy_writer import PixelWriter
from sightline.stages.preprocess.tasks import ShardSummary, Task


@dataclass(frozen=True)
class CopyTask(Task):
    """Makes augmented copies of rows of a file of pixels.

    Attributes:
        policy: The augmentation policy as plain data.
        copies: Number of copies of each row.
        seed: All randomness is derived from it, the row's id and the copy's number.
        rows: The rows to copy.
        ids: Their ids.
    """

    policy: dict[str, Any]
    copies: int
    seed: int
    rows: tuple[int, ...]
    ids: tuple[str, ...]
    kind = "copies"

    @property
    def images(self) -> int:
        """The number of copies that the task makes."""
        return len(self.rows) * self.copies

    def write(self, out: Path) -> ShardSummary:
        """Writes the copies to `out`, row by row, with all copies of a row together."""
        pixels = np.load(self.source, mmap_mode="r")
        height, width, channels = pixels.shape[1:]
        option = augment_options.POLICIES[self.policy["name"]](**self.policy)
        augmentation = augment_policy.build(option, (height, width, channels))
        if augmentation is None:
            raise ValueError(f"augment: {self.policy['name']} makes no copies")
        with PixelWriter(out, (height, width, channels)) as writer:
            for row, identity in zip(self.rows, self.ids, strict=True):
                image = np.array(pixels[row])
                for copy in range(1, self.copies + 1):
                    writer.add(augmentation(image, seeds.derive(self.seed, "copy", identity, copy)))
        return ShardSummary(writer.file, writer.sums)
