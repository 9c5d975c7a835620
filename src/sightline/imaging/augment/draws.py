"""Random draws for augmentation on tensors: each a pure function of seed, epoch and sample."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from sightline.core import seeds


def sample_hashes(ids: list[str]) -> npt.NDArray[np.int64]:
    """Returns [n] int64 hashes of sample ids, each independent of the other samples."""
    return np.array([seeds.derive(0, "sample", name) for name in ids], np.int64)


def keys(hashes: npt.NDArray[np.int64], seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """Returns [n] int64 keys of samples in an epoch, which determine all their random draws."""
    return hashes ^ np.int64(salt(seed, epoch))


def salt(seed: int, epoch: int) -> int:
    """Returns a 63-bit value whose exclusive or with a sample's hash gives the sample's key in an epoch."""
    return seeds.derive(seed, "augment", epoch)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


class Draws:
    """Uniform draws in [0, 1), independent for each sample and each call, by the SplitMix64 generator.

    Steele, Lea and Flood (2014), "Fast splittable pseudorandom number generators". int64 arithmetic in torch wraps
    around on every device, which is what the generator needs from its unsigned numbers.

    Args:
        keys: [N] int64.
    """

    BLOCK = 8
    """Number of draws made at once: eight take a GPU as long as one, nearly all of it launch overhead."""

    def __init__(self, keys: torch.Tensor) -> None:
        self._keys = keys
        self._drawn = 0
        self._block = keys

    def uniform(self) -> torch.Tensor:
        """Returns the next [N] draws, float32."""
        place = self._drawn % self.BLOCK
        if place == 0:
            counts = torch.arange(self._drawn + 1, self._drawn + self.BLOCK + 1, device=self._keys.device)
            self._block = self._mixed(self._keys + counts[:, None] * _signed(0x9E3779B97F4A7C15))
        self._drawn += 1
        return self._block[place]

    def _mixed(self, state: torch.Tensor) -> torch.Tensor:
        """Maps states to draws, float32 of the same shape."""
        mixed = (state ^ self._shift(state, 30)) * _signed(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ self._shift(mixed, 27)) * _signed(0x94D049BB133111EB)
        mixed = mixed ^ self._shift(mixed, 31)
        return self._shift(mixed, 40).float() / 2**24

    def between(self, low: float, high: float) -> torch.Tensor:
        """Returns [N] draws in [low, high)."""
        return low + (high - low) * self.uniform()

    @staticmethod
    def _shift(value: torch.Tensor, bits: int) -> torch.Tensor:
        """Shifts right with zeros; torch's own shift would extend the sign."""
        return (value >> bits) & ((1 << (64 - bits)) - 1)
