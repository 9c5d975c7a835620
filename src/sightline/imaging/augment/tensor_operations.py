"""Augmentation operations on batches of images: float32 tensors [N, H, W, C], levels 0..255."""

from __future__ import annotations

from collections.abc import Callable

import torch

from sightline.imaging.augment.draws import Draws

MAX_CHANGE = 0.9
"""The largest relative change of brightness, contrast, sharpness and saturation, at strength 1."""


def autocontrast(pixels: torch.Tensor) -> torch.Tensor:
    """Stretches the levels of each channel to 0..255."""
    low, high = pixels.amin(dim=(1, 2), keepdim=True), pixels.amax(dim=(1, 2), keepdim=True)
    return torch.where(high > low, (pixels - low) * (255 / (high - low).clamp(min=1)), pixels)


def equalize(pixels: torch.Tensor) -> torch.Tensor:
    """Maps each level to the fraction of pixels below it, separately per channel (histogram equalization)."""
    count, height, width, channels = pixels.shape
    planes = pixels.round().permute(0, 3, 1, 2).reshape(count * channels, height * width)
    # Rank among the plane's own pixels: the cumulative histogram without computing a histogram.
    ordered = planes.sort(dim=1).values.contiguous()
    ranks = torch.searchsorted(ordered, planes.contiguous(), right=True).float()
    least = torch.searchsorted(ordered, ordered[:, :1].contiguous(), right=True).float()
    spread = (height * width - least).clamp(min=1)
    result = torch.where(least < height * width, (ranks - least) / spread * 255, planes)
    return result.reshape(count, channels, height, width).permute(0, 2, 3, 1)


def sharpen(pixels: torch.Tensor, strength: torch.Tensor) -> torch.Tensor:
    """Moves pixels away from their 3 x 3 mean."""
    planes = pixels.permute(0, 3, 1, 2)
    padded = torch.nn.functional.pad(planes, (1, 1, 1, 1), mode="replicate")
    blurred = torch.nn.functional.avg_pool2d(padded, 3, stride=1)
    sharp = planes + (planes - blurred) * 9 / 8
    return torch.lerp(planes, sharp, column(MAX_CHANGE * strength)).permute(0, 2, 3, 1)


def posterize(pixels: torch.Tensor, strength: torch.Tensor) -> torch.Tensor:
    """Drops up to four low bits of each level."""
    step = column(2 ** (4 * strength).round())
    return (pixels / step).floor() * step


def solarize(pixels: torch.Tensor, strength: torch.Tensor) -> torch.Tensor:
    """Inverts the levels above a threshold."""
    return torch.where(pixels >= 255 * column(1 - strength), 255 - pixels, pixels)


def column(values: torch.Tensor) -> torch.Tensor:
    """Returns [N] values as [N, 1, 1, 1]: one per image of a batch."""
    return values[:, None, None, None]


def saturate(pixels: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Moves colours away from (factor > 1) or towards their grey level (ITU-R BT.601 weights)."""
    weights = torch.tensor([0.299, 0.587, 0.114], device=pixels.device)
    grey = (pixels * weights).sum(dim=3, keepdim=True)
    return grey + (pixels - grey) * column(factor)


def cutout(pixels: torch.Tensor, share: float, draws: Draws) -> torch.Tensor:
    """Erases a square, `share` of the image's side, in half of the images (DeVries and Taylor 2017)."""
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


def affine(
    size: torch.Tensor, angle: torch.Tensor, flip: torch.Tensor, shear: torch.Tensor, dx: torch.Tensor, dy: torch.Tensor
) -> torch.Tensor:
    """Returns [N, 2, 3] matrices that map coordinates in the result to coordinates in the image, both in -1..1."""
    cos, sin = torch.cos(angle), torch.sin(angle)
    rows = [size * cos * flip, size * (shear - sin), dx, size * sin * flip, size * cos, dy]
    return torch.stack(rows, dim=1).view(-1, 2, 3)


def warp(pixels: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """Samples [N, H, W, C] images bilinearly; beyond the border, border pixels are repeated."""
    planes = pixels.permute(0, 3, 1, 2)
    grid = torch.nn.functional.affine_grid(matrix, list(planes.shape), align_corners=False)
    warped = torch.nn.functional.grid_sample(planes, grid, padding_mode="border", align_corners=False)
    return warped.permute(0, 2, 3, 1)


PHOTOMETRIC: dict[str, Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "autocontrast": lambda pixels, *_: autocontrast(pixels),
    "equalize": lambda pixels, *_: equalize(pixels),
    "sharpen": lambda pixels, strength, _: sharpen(pixels, strength),
    "posterize": lambda pixels, strength, _: posterize(pixels, strength),
    "solarize": lambda pixels, strength, _: solarize(pixels, strength),
    "saturation": lambda pixels, _, signed: saturate(pixels, 1 + MAX_CHANGE * signed),
}
"""RandAugment's changes of colour, as functions of (pixels, strength [N] in 0..1, signed strength [N] in -1..1)."""
