"""Augmentation of whole batches of tensors, on the device that the network runs on.

The draws of each sample are a pure function of its key: they do not depend on generator state, order or batch size.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from sightline.config.schema import Option
from sightline.imaging.augment.draws import Draws
from sightline.imaging.augment.options import BasicAugment, RandAugment, TrivialAugment
from sightline.imaging.augment.tensor_operations import MAX_CHANGE, PHOTOMETRIC, affine, column, cutout, saturate, warp

BatchAugmentation = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(uint8 [N, H, W, C] images, int64 [N] keys) -> float32 [N, H, W, C] images, 0..255."""


def build(policy: Option) -> BatchAugmentation | None:
    """Builds a policy's function on batches; None if the policy changes nothing.

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
    # The visible part of the image, relative to its size: a crop reduces it, and so does a larger scale.
    shown = (1 - policy.crop * draws.uniform()).sqrt()
    room = 1 - shown
    angle = torch.deg2rad(draws.between(-policy.rotate, policy.rotate))
    size = shown / draws.between(1 - policy.scale, 1 + policy.scale)
    dx = draws.between(-2 * policy.translate, 2 * policy.translate) + room * draws.between(-1, 1)
    dy = draws.between(-2 * policy.translate, 2 * policy.translate) + room * draws.between(-1, 1)
    moved = policy.crop or policy.translate or policy.rotate or policy.scale
    if moved:
        matrix = affine(size, angle, flip, one * 0, dx, dy)
        pixels, mask = warp(pixels, matrix), None if mask is None else warp(mask, matrix)
    elif policy.flip:
        turned = (flip < 0)[:, None, None, None]
        pixels = torch.where(turned, pixels.flip(2), pixels)
        mask = None if mask is None else torch.where(turned, mask.flip(2), mask)
    if policy.brightness or policy.contrast:
        on = draws.uniform() < 0.5
        brightness = torch.where(on, draws.between(-policy.brightness, policy.brightness), 0.0)
        contrast = torch.where(on, draws.between(1 - policy.contrast, 1 + policy.contrast), 1.0)
        pixels = pixels * column(contrast) + 255 * column(brightness)
    if policy.saturation and pixels.shape[3] == 3:
        on = draws.uniform() < 0.5
        factor = torch.where(on, draws.between(1 - policy.saturation, 1 + policy.saturation), 1.0)
        pixels = saturate(pixels, factor)
    if policy.cutout:
        pixels = cutout(pixels, policy.cutout, draws)
    return _join(pixels.clamp(0, 255), mask)


_SHEAR = math.tan(math.radians(17.0))
_SHIFT = 0.45
_TURN = math.radians(30.0)
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
    """Applies `operations` operations drawn from RandAugment's list, with a fixed strength or (None) a random one."""
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
    matrix = affine(one, amount("rotate", _TURN), one, amount("shear_x", _SHEAR), 0 * one, 0 * one)
    matrix[:, 1, 0] += amount("shear_y", _SHEAR)
    matrix[:, 0, 2] = amount("shift_x", 2 * _SHIFT)
    matrix[:, 1, 2] = amount("shift_y", 2 * _SHIFT)
    geometric = (chosen >= names.index("rotate")) & (chosen <= names.index("shift_y"))
    if geometric.any():
        warped = geometric[:, None, None, None]
        pixels = torch.where(warped, warp(pixels, matrix), pixels)
        mask = None if mask is None else torch.where(warped, warp(mask, matrix), mask)
    pixels = pixels + 255 * column(amount("brightness", MAX_CHANGE))
    mean = pixels.mean(dim=(1, 2, 3), keepdim=True)
    pixels = (mean + (pixels - mean) * column(1 + amount("contrast", MAX_CHANGE))).clamp(0, 255)
    for name, change in PHOTOMETRIC.items():
        picked = (chosen == names.index(name)).nonzero().flatten() if name in names else chosen[:0]
        if len(picked):
            pixels = pixels.index_copy(0, picked, change(pixels[picked], strength[picked], signed[picked]))
    return pixels, mask


def _split_mask(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Splits off the mask that segmentation has added as a channel: it moves with the image and keeps its levels."""
    pixels = images.float()
    return (pixels[..., :-1], pixels[..., -1:]) if images.shape[3] in (2, 4) else (pixels, None)


def _join(pixels: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    return pixels if mask is None else torch.cat([pixels, mask], dim=3)
