"""Augmentation of whole batches of tensors, where the network computes.

Every sample has draws of its own, a pure function of its key: no generator's state, no order, no batch size matters.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

from sightline.config.schema import Option
from sightline.core import seeds
from sightline.imaging.augment.options import BasicAugment, RandAugment, TrivialAugment

BatchAugmentation = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(uint8 [N, H, W, C] images, int64 [N] keys) -> float32 [N, H, W, C] images, 0..255."""


def sample_hashes(ids: list[str]) -> npt.NDArray[np.int64]:
    """Returns [n] int64 hashes of sample ids, the same whatever other samples there are."""
    return np.array([seeds.derive(0, "sample", name) for name in ids], np.int64)


def keys(hashes: npt.NDArray[np.int64], seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """Returns [n] int64 keys of samples in an epoch: what all their random draws are a function of."""
    return hashes ^ np.int64(salt(seed, epoch))


def salt(seed: int, epoch: int) -> int:
    """Returns what turns a sample's hash into its key in an epoch, by exclusive or: 63 bits."""
    return seeds.derive(seed, "augment", epoch)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


class Draws:
    """Uniform draws in [0, 1), independent for each sample and each call, by the SplitMix64 generator.

    Steele, Lea and Flood (2014), "Fast splittable pseudorandom number generators". int64 arithmetic wraps around in
    torch, on every device, as the generator wants of its unsigned numbers.

    Args:
        keys: [N] int64.
    """

    BLOCK = 8
    """Draws made at once: a GPU takes as long for one as for eight, nearly all of it the launch of the operations."""

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
        """Shifts right without sign, which torch's shift would keep."""
        return (value >> bits) & ((1 << (64 - bits)) - 1)


def build(policy: Option) -> BatchAugmentation | None:
    """Builds a policy's function on batches; None where nothing is to be done.

    Args:
        policy: One of `options.POLICIES`.
    """
    match policy:
        case BasicAugment():
            return lambda images, keys: _mix(policy, images, keys)
        case RandAugment():
            return lambda images, keys: _drawn(policy.flip, policy.operations, policy.magnitude, images, keys)
        case TrivialAugment():
            return lambda images, keys: _drawn(policy.flip, 1, None, images, keys)
        case _:
            return None


def _mix(policy: BasicAugment, images: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    draws = Draws(keys)
    count = len(images)
    pixels, mask = _split_mask(images)
    flip = torch.where(draws.uniform() < policy.flip, -1.0, 1.0)
    one = torch.ones(count, device=images.device)
    # What the result shows of the image, in units of its size: a crop shows less, a larger scale as well.
    shown = (1 - policy.crop * draws.uniform()).sqrt()
    room = 1 - shown
    angle = torch.deg2rad(draws.between(-policy.rotate, policy.rotate))
    size = shown / draws.between(1 - policy.scale, 1 + policy.scale)
    dx = draws.between(-2 * policy.translate, 2 * policy.translate) + room * draws.between(-1, 1)
    dy = draws.between(-2 * policy.translate, 2 * policy.translate) + room * draws.between(-1, 1)
    moved = policy.crop or policy.translate or policy.rotate or policy.scale
    if moved:
        matrix = _affine(size, angle, flip, one * 0, dx, dy)
        pixels, mask = _warp(pixels, matrix), None if mask is None else _warp(mask, matrix)
    elif policy.flip:
        turned = (flip < 0)[:, None, None, None]
        pixels = torch.where(turned, pixels.flip(2), pixels)
        mask = None if mask is None else torch.where(turned, mask.flip(2), mask)
    if policy.brightness or policy.contrast:
        on = draws.uniform() < 0.5
        brightness = torch.where(on, draws.between(-policy.brightness, policy.brightness), 0.0)
        contrast = torch.where(on, draws.between(1 - policy.contrast, 1 + policy.contrast), 1.0)
        pixels = pixels * _column(contrast) + 255 * _column(brightness)
    if policy.saturation and pixels.shape[3] == 3:
        on = draws.uniform() < 0.5
        factor = torch.where(on, draws.between(1 - policy.saturation, 1 + policy.saturation), 1.0)
        pixels = _saturate(pixels, factor)
    if policy.cutout:
        pixels = _cutout(pixels, policy.cutout, draws)
    return _join(pixels.clamp(0, 255), mask)


_SHEAR = math.tan(math.radians(17.0))
_SHIFT = 0.45
_TURN = math.radians(30.0)
_LIGHT = 0.9
_GEOMETRIC = ["rotate", "shear_x", "shear_y", "shift_x", "shift_y"]
_NAMES = [
    "identity",
    *_GEOMETRIC,
    "brightness",
    "contrast",
    "autocontrast",
    "equalize",
    "sharpen",
    "posterize",
    "solarize",
]


def _drawn(
    flip: float, operations: int, magnitude: float | None, images: torch.Tensor, keys: torch.Tensor
) -> torch.Tensor:
    """Applies `operations` drawn operations of RandAugment's list, at a fixed strength or (None) a drawn one."""
    draws = Draws(keys)
    pixels, mask = _split_mask(images)
    turned = (draws.uniform() < flip)[:, None, None, None]
    pixels = torch.where(turned, pixels.flip(2), pixels)
    mask = None if mask is None else torch.where(turned, mask.flip(2), mask)
    names = [*_NAMES, "saturation"] if pixels.shape[3] == 3 else _NAMES
    for _ in range(operations):
        chosen = (draws.uniform() * len(names)).long()
        strength = draws.uniform() if magnitude is None else torch.full_like(draws.uniform(), magnitude)
        signed = torch.where(draws.uniform() < 0.5, -strength, strength)
        pixels, mask = _apply(names, chosen, strength, signed, pixels, mask)
    return _join(pixels.clamp(0, 255), mask)


def _apply(
    names: list[str],
    chosen: torch.Tensor,
    strength: torch.Tensor,
    signed: torch.Tensor,
    pixels: torch.Tensor,
    mask: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    def amount(name: str, most: float) -> torch.Tensor:
        return torch.where(chosen == names.index(name), signed * most, 0.0)

    one = torch.ones_like(strength)
    matrix = _affine(one, amount("rotate", _TURN), one, amount("shear_x", _SHEAR), 0 * one, 0 * one)
    matrix[:, 1, 0] += amount("shear_y", _SHEAR)
    matrix[:, 0, 2] = amount("shift_x", 2 * _SHIFT)
    matrix[:, 1, 2] = amount("shift_y", 2 * _SHIFT)
    geometric = (chosen >= names.index("rotate")) & (chosen <= names.index("shift_y"))
    if geometric.any():
        where = geometric[:, None, None, None]
        pixels = torch.where(where, _warp(pixels, matrix), pixels)
        mask = None if mask is None else torch.where(where, _warp(mask, matrix), mask)
    pixels = pixels + 255 * _column(amount("brightness", _LIGHT))
    mean = pixels.mean(dim=(1, 2, 3), keepdim=True)
    pixels = (mean + (pixels - mean) * _column(1 + amount("contrast", _LIGHT))).clamp(0, 255)
    for name, change in _PHOTOMETRIC.items():
        picked = (chosen == names.index(name)).nonzero().flatten() if name in names else chosen[:0]
        if len(picked):
            pixels = pixels.index_copy(0, picked, change(pixels[picked], strength[picked], signed[picked]))
    return pixels, mask


def _autocontrast(pixels: torch.Tensor, strength: torch.Tensor, signed: torch.Tensor) -> torch.Tensor:  # noqa: ARG001
    low, high = pixels.amin(dim=(1, 2), keepdim=True), pixels.amax(dim=(1, 2), keepdim=True)
    return torch.where(high > low, (pixels - low) * (255 / (high - low).clamp(min=1)), pixels)


def _equalize(pixels: torch.Tensor, strength: torch.Tensor, signed: torch.Tensor) -> torch.Tensor:  # noqa: ARG001
    """Maps each level to the share of pixels below it, a channel at a time (histogram equalisation)."""
    count, height, width, channels = pixels.shape
    planes = pixels.round().permute(0, 3, 1, 2).reshape(count * channels, height * width)
    # Rank among the plane's own pixels: the cumulative histogram without building one.
    ordered, _ = planes.sort(dim=1)
    ranks = torch.searchsorted(ordered, planes.contiguous(), right=True).float()
    least = torch.searchsorted(ordered, ordered[:, :1].contiguous(), right=True).float()
    spread = (height * width - least).clamp(min=1)
    result = torch.where(least < height * width, (ranks - least) / spread * 255, planes)
    return result.reshape(count, channels, height, width).permute(0, 2, 3, 1)


def _sharpen(pixels: torch.Tensor, strength: torch.Tensor, signed: torch.Tensor) -> torch.Tensor:  # noqa: ARG001
    planes = pixels.permute(0, 3, 1, 2)
    padded = torch.nn.functional.pad(planes, (1, 1, 1, 1), mode="replicate")
    blurred = torch.nn.functional.avg_pool2d(padded, 3, stride=1)
    sharp = planes + (planes - blurred) * 9 / 8
    return torch.lerp(planes, sharp, _column(_LIGHT * strength)).permute(0, 2, 3, 1)


def _posterize(pixels: torch.Tensor, strength: torch.Tensor, signed: torch.Tensor) -> torch.Tensor:  # noqa: ARG001
    step = _column(2 ** (4 * strength).round())
    return (pixels / step).floor() * step


def _solarize(pixels: torch.Tensor, strength: torch.Tensor, signed: torch.Tensor) -> torch.Tensor:  # noqa: ARG001
    return torch.where(pixels >= 255 * _column(1 - strength), 255 - pixels, pixels)


def _saturation(pixels: torch.Tensor, strength: torch.Tensor, signed: torch.Tensor) -> torch.Tensor:  # noqa: ARG001
    return _saturate(pixels, 1 + _LIGHT * signed)


_PHOTOMETRIC: dict[str, Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "autocontrast": _autocontrast,
    "equalize": _equalize,
    "sharpen": _sharpen,
    "posterize": _posterize,
    "solarize": _solarize,
    "saturation": _saturation,
}


def _column(values: torch.Tensor) -> torch.Tensor:
    return values[:, None, None, None]


def _saturate(pixels: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Moves colours away from (factor > 1) or towards their grey level (ITU-R BT.601 weights)."""
    weights = torch.tensor([0.299, 0.587, 0.114], device=pixels.device)
    grey = (pixels * weights).sum(dim=3, keepdim=True)
    return grey + (pixels - grey) * _column(factor)


def _cutout(pixels: torch.Tensor, share: float, draws: Draws) -> torch.Tensor:
    """Erases a square, `share` of the image's side, in every second image (DeVries and Taylor 2017)."""
    height, width = pixels.shape[1:3]
    on = draws.uniform() < 0.5
    top, left = (
        (draws.uniform() * (height * (1 - share) + 1)).floor(),
        (draws.uniform() * (width * (1 - share) + 1)).floor(),
    )
    rows = torch.arange(height, device=pixels.device)[None]
    columns = torch.arange(width, device=pixels.device)[None]
    in_rows = (rows >= top[:, None]) & (rows < (top + round(height * share))[:, None])
    in_columns = (columns >= left[:, None]) & (columns < (left + round(width * share))[:, None])
    erased = in_rows[:, :, None] & in_columns[:, None, :] & on[:, None, None]
    return torch.where(erased[..., None], 0.0, pixels)


def _affine(
    size: torch.Tensor, angle: torch.Tensor, flip: torch.Tensor, shear: torch.Tensor, dx: torch.Tensor, dy: torch.Tensor
) -> torch.Tensor:
    """Returns [N, 2, 3] matrices from places in the result to places in the image, both in -1..1."""
    cos, sin = torch.cos(angle), torch.sin(angle)
    rows = [size * cos * flip, size * (shear - sin), dx, size * sin * flip, size * cos, dy]
    return torch.stack(rows, dim=1).view(-1, 2, 3)


def _warp(pixels: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """Samples [N, H, W, C] images bilinearly; beyond the border its pixels go on."""
    planes = pixels.permute(0, 3, 1, 2)
    grid = torch.nn.functional.affine_grid(matrix, list(planes.shape), align_corners=False)
    warped = torch.nn.functional.grid_sample(planes, grid, padding_mode="border", align_corners=False)
    return warped.permute(0, 2, 3, 1)


def _split_mask(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Splits off the mask that a segmentation has added as a channel: it moves along, and keeps its levels."""
    pixels = images.float()
    return (pixels[..., :-1], pixels[..., -1:]) if images.shape[3] in (2, 4) else (pixels, None)


def _join(pixels: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    return pixels if mask is None else torch.cat([pixels, mask], dim=3)
