"""A split as a PyTorch dataset."""

from __future__ import annotations

import torch
from torch.utils.data import Dataset

from sightline.datasets.processed_set import Split


class TorchSplit(Dataset[tuple[torch.Tensor, int]]):
    """Pairs of a uint8 image [channels, height, width] and its class index; loader processes reopen the files."""

    def __init__(self, split: Split) -> None:
        self._split = split

    def __len__(self) -> int:
        return len(self._split)

    def __getitem__(self, position: int) -> tuple[torch.Tensor, int]:
        place = range(len(self))[position]  # raises IndexError, and supports negative positions
        image = torch.from_numpy(self._split.images([place])[0])
        return image.permute(2, 0, 1).contiguous(), int(self._split.labels[place])
