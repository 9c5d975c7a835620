"""A split as a dataset of torch."""

from __future__ import annotations

import torch
from torch.utils.data import Dataset

from sightline.datasets.processed_set import Split


class TorchSplit(Dataset[tuple[torch.Tensor, int]]):
    """Pairs of a uint8 image [channels, height, width] and its class index; loaders' processes map the files anew."""

    def __init__(self, split: Split) -> None:
        self._split = split

    def __len__(self) -> int:
        return len(self._split)

    def __getitem__(self, position: int) -> tuple[torch.Tensor, int]:
        place = range(len(self))[position]  # which raises IndexError, and takes negative ones
        image = torch.from_numpy(self._split.images([place])[0])
        return image.permute(2, 0, 1).contiguous(), int(self._split.labels[place])
