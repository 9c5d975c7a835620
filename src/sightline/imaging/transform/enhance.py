"""Enhancement: each option of `options.ENHANCE` at work."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from sightline.config.schema import Option
from sightline.imaging.transform import options
from sightline.imaging.transform.ops import Pixels, luminance, on_lightness, with_channels


def enhance(image: Pixels, option: Option) -> Pixels:
    """Returns the enhanced image, [h, w, c] uint8."""
    match option:
        case options.AutoContrast():
            return _autocontrast(image, option.cutoff)
        case options.Equalize():
            return on_lightness(image, cv2.equalizeHist)
        case options.Clahe():
            tiles = (min(option.tiles, image.shape[1]), min(option.tiles, image.shape[0]))
            return on_lightness(image, cv2.createCLAHE(option.clip_limit, tiles).apply)
        case options.Gamma():
            return _mapped(image, 255 * (np.arange(256) / 255) ** option.gamma)
        case options.Unsharp():
            return _unsharp(image, option)
        case options.WhiteBalance():
            return _white_balance(image, option.max_gain)
    return image


def _mapped(image: Pixels, table: npt.NDArray[np.floating]) -> Pixels:
    """Replaces each level by its entry in `table`: [256], or [256, c] for a mapping of its own for each channel."""
    levels = np.clip(np.rint(table), 0, 255).astype(np.uint8)
    return with_channels(cv2.LUT(image, levels if levels.ndim == 1 else levels[:, None, :]))


def _autocontrast(image: Pixels, cutoff: float) -> Pixels:
    reached = np.cumsum(np.bincount(luminance(image).reshape(-1), minlength=256))
    drop = int(cutoff * reached[-1])
    low = int(np.searchsorted(reached, drop, side="right"))
    high = int(np.searchsorted(reached, reached[-1] - drop, side="left"))
    if high <= low:
        return image
    return _mapped(image, (np.arange(256) - low) * (255 / (high - low)))


def _unsharp(image: Pixels, option: options.Unsharp) -> Pixels:
    blurred = with_channels(cv2.GaussianBlur(image, (0, 0), option.sigma, borderType=cv2.BORDER_REFLECT))
    detail = image.astype(np.float32) - blurred
    detail[np.abs(detail) < option.threshold] = 0
    return np.clip(np.rint(image + option.amount * detail), 0, 255).astype(np.uint8)


def _white_balance(image: Pixels, max_gain: float) -> Pixels:
    if image.shape[2] == 1:
        return image
    means = image.mean(axis=(0, 1), dtype=np.float64)
    gains = np.clip(means.mean() / np.maximum(means, 1e-9), 1 / max_gain, max_gain)
    return _mapped(image, np.arange(256)[:, None] * gains)
