"""Common corruptions of images in five severities: the effects of cameras, weather and compression.

Hendrycks and Dietterich (2019), "Benchmarking neural network robustness to common corruptions and perturbations":
ten of their corruptions, with the parameters that they published for three image sizes, CIFAR-10-C (32 pixels),
Tiny ImageNet-C (64) and ImageNet-C (224). An image gets the parameters of the size closest to its own.

The same image, name, severity and seed give the same pixels; severities with the same seed share their random numbers,
so a higher severity adds to a lower one.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from sightline.imaging import decode
from sightline.imaging.convert import Pixels

Floats = npt.NDArray[np.float32]

SEVERITIES = 5

LONGEST_SIDE = 256
"""Larger images should be shrunk to this size first: the parameters are lengths in pixels of images of 224."""

# Geometric means of 32 and 64, and of 64 and 224: sides from which on the next set of parameters is closer.
_MIDDLES = (45, 120)

# By name: the five severities for images of about 32, 64 and 224 pixels.
_PARAMETERS: dict[str, tuple[tuple[Any, ...], tuple[Any, ...], tuple[Any, ...]]] = {
    # Standard deviation of the noise, relative to levels in 0..1.
    "gaussian_noise": ((0.04, 0.06, 0.08, 0.09, 0.10), (0.04, 0.08, 0.12, 0.15, 0.18), (0.08, 0.12, 0.18, 0.26, 0.38)),
    # Photons per white pixel.
    "shot_noise": ((500, 250, 100, 75, 50), (250, 100, 50, 30, 15), (60, 25, 12, 5, 3)),
    # Fraction of samples that turn black or white.
    "impulse_noise": ((0.01, 0.02, 0.03, 0.05, 0.07), (0.01, 0.02, 0.05, 0.08, 0.14), (0.03, 0.06, 0.09, 0.17, 0.27)),
    # Radius of the disk, and standard deviation of the blur that smooths its edge, in pixels.
    "defocus_blur": (
        ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
        ((0.5, 0.6), (1, 0.1), (1.5, 0.1), (2.5, 0.01), (3, 0.1)),
        ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    ),
    # Radius (half the maximum length of the motion) and standard deviation along it, in pixels.
    "motion_blur": (
        ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
        ((10, 1), (10, 1.5), (10, 2), (10, 2.5), (12, 3)),
        ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    ),
    # Added to the value of HSV, in 0..1.
    "brightness": ((0.05, 0.1, 0.15, 0.2, 0.3), (0.1, 0.2, 0.3, 0.4, 0.5), (0.1, 0.2, 0.3, 0.4, 0.5)),
    # Remaining fraction of the contrast.
    "contrast": ((0.75, 0.5, 0.4, 0.3, 0.15), (0.4, 0.3, 0.2, 0.1, 0.05), (0.4, 0.3, 0.2, 0.1, 0.05)),
    # Strength of the fog, and the rate at which its detail decays.
    "fog": (
        ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
        ((0.4, 3), (0.7, 3), (1, 2.5), (1.5, 2), (2, 1.75)),
        ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
    ),
    # JPEG quality, of 100.
    "jpeg": ((80, 65, 58, 50, 40), (65, 58, 50, 40, 25), (25, 18, 15, 10, 7)),
    # Remaining fraction of the resolution.
    "pixelate": ((0.95, 0.9, 0.85, 0.75, 0.65), (0.9, 0.8, 0.7, 0.6, 0.5), (0.6, 0.5, 0.4, 0.3, 0.25)),
}

NAMES = tuple(_PARAMETERS)


def corrupt(image: Pixels, name: str, severity: int, seed: int) -> Pixels:
    """Returns the corrupted image.

    Args:
        image: [height, width, 1 or 3] uint8.
        name: One of `NAMES`.
        severity: 1..5.
        seed: Determines all randomness; see `seeds.derive`.

    Returns:
        [height, width, channels] uint8, a new array.

    Raises:
        ValueError: For an unknown name or severity.
    """
    if name not in _PARAMETERS or not 1 <= severity <= SEVERITIES:
        raise ValueError(
            f"no corruption {name!r} of severity {severity}; there are {', '.join(NAMES)}, 1 to {SEVERITIES}"
        )
    nearest = sum(min(image.shape[:2]) > middle for middle in _MIDDLES)
    parameter = _PARAMETERS[name][nearest][severity - 1]
    rng = np.random.default_rng(seed)
    if name in _OF_BYTES:
        return _OF_BYTES[name](image, parameter)
    result = _OF_LIGHT[name](np.asarray(image / 255, np.float32), parameter, rng)
    corrupted: Pixels = np.rint(result.clip(0, 1) * 255).astype(np.uint8)
    return corrupted


def shrink(image: Pixels) -> Pixels:
    """Returns the image with its longer side reduced to at most `LONGEST_SIDE`, by averaging over areas."""
    height, width, channels = image.shape
    if max(height, width) <= LONGEST_SIDE:
        return image
    scale = LONGEST_SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    smaller: Pixels = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    return smaller.reshape(size[1], size[0], channels)


def _gaussian_noise(x: Floats, deviation: float, rng: np.random.Generator) -> Floats:
    return x + rng.normal(scale=deviation, size=x.shape).astype(np.float32)


def _shot_noise(x: Floats, photons: float, rng: np.random.Generator) -> Floats:
    counted: Floats = (rng.poisson(x * photons) / photons).astype(np.float32)
    return counted


def _impulse_noise(x: Floats, amount: float, rng: np.random.Generator) -> Floats:
    hit, white = rng.random(x.shape) < amount, rng.random(x.shape) < 0.5
    return np.where(hit, white.astype(np.float32), x)


def _defocus_blur(x: Floats, disk: tuple[float, float], rng: np.random.Generator) -> Floats:  # noqa: ARG001 - as every corruption
    return _filtered(x, _disk(*disk), cv2.BORDER_REFLECT_101)


def _motion_blur(x: Floats, way: tuple[int, float], rng: np.random.Generator) -> Floats:
    return _filtered(x, _way(*way, angle=float(rng.uniform(-45, 45))), cv2.BORDER_REPLICATE)


def _brightness(x: Floats, more: float, rng: np.random.Generator) -> Floats:  # noqa: ARG001 - as every corruption
    # In HSV, a higher value at the same hue and saturation scales the colour; black becomes grey.
    value = x.max(axis=2, keepdims=True)
    brighter = np.minimum(value + more, 1)
    lit: Floats = np.where(value > 0, x * brighter / np.maximum(value, 1e-6), brighter)
    return lit


def _contrast(x: Floats, remains: float, rng: np.random.Generator) -> Floats:  # noqa: ARG001 - as every corruption
    mean = x.mean(axis=(0, 1), keepdims=True)
    flatter: Floats = (x - mean) * np.float32(remains) + mean
    return flatter


def _fog(x: Floats, fog: tuple[float, float], rng: np.random.Generator) -> Floats:
    strength, decay = fog
    height, width = x.shape[:2]
    brightest = x.max()
    layer = strength * _plasma(max(height, width), decay, rng)[:height, :width, None]
    foggy: Floats = (x + layer) * (brightest / (brightest + strength))
    return foggy


def _jpeg(image: Pixels, quality: int) -> Pixels:
    stream = io.BytesIO()
    _picture(image).save(stream, "JPEG", quality=quality)
    return decode.decode(stream.getvalue(), image.shape[2])


def _pixelate(image: Pixels, remains: float) -> Pixels:
    height, width = image.shape[:2]
    small = _picture(image).resize((max(1, int(width * remains)), max(1, int(height * remains))), Image.Resampling.BOX)
    return np.array(small.resize((width, height), Image.Resampling.BOX)).reshape(image.shape)


_OF_LIGHT: dict[str, Callable[[Floats, Any, np.random.Generator], Floats]] = {
    "gaussian_noise": _gaussian_noise,
    "shot_noise": _shot_noise,
    "impulse_noise": _impulse_noise,
    "defocus_blur": _defocus_blur,
    "motion_blur": _motion_blur,
    "brightness": _brightness,
    "contrast": _contrast,
    "fog": _fog,
}
_OF_BYTES: dict[str, Callable[[Pixels, Any], Pixels]] = {"jpeg": _jpeg, "pixelate": _pixelate}


def _picture(image: Pixels) -> Image.Image:
    return Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)


def _filtered(x: Floats, kernel: Floats, border: int) -> Floats:
    return np.asarray(cv2.filter2D(x, -1, kernel, borderType=border), np.float32).reshape(x.shape)


@functools.cache
def _disk(radius: float, smooth: float) -> Floats:
    """Returns the kernel of an out-of-focus lens: a disk of that radius with a smoothed edge."""
    reach = np.arange(-int(radius) - 2, int(radius) + 3)
    disk = (reach[:, None] ** 2 + reach**2 <= radius**2).astype(np.float32)
    size = (3, 3) if radius <= 8 else (5, 5)
    return np.asarray(cv2.GaussianBlur(disk / disk.sum(), size, smooth), np.float32)


def _way(radius: int, deviation: float, angle: float) -> Floats:
    """Returns the kernel of a moving camera: half a Gaussian along a line at `angle` degrees, like ImageMagick's."""
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-(steps**2) / (2 * deviation**2))
    turn = np.deg2rad(angle)
    columns, rows = np.rint(steps * np.cos(turn)).astype(int), np.rint(steps * np.sin(turn)).astype(int)
    kernel = np.zeros((4 * radius + 1, 4 * radius + 1), np.float32)
    np.add.at(kernel, (2 * radius + rows, 2 * radius + columns), weights / weights.sum())
    return kernel


def _plasma(side: int, decay: float, rng: np.random.Generator) -> Floats:
    """Returns a cloud, [size, size] in 0..1, with size the smallest power of two that is at least `side` (and 2).

    The diamond-square algorithm on a torus (Fournier, Fussell and Carpenter (1982), "Computer rendering of stochastic
    models"), with randomness that falls by a factor of `decay` each time the step is halved.
    """
    size = max(2, 1 << (side - 1).bit_length())
    cloud = np.zeros((size, size))
    step, roughness = size, 100.0

    def around(total: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        noise: npt.NDArray[np.float64] = roughness * rng.uniform(-roughness, roughness, total.shape)
        return total / 4 + noise

    while step >= 2:
        half = step // 2
        corners = cloud[::step, ::step]
        pairs = corners + np.roll(corners, -1, axis=0)
        cloud[half::step, half::step] = centres = around(pairs + np.roll(pairs, -1, axis=1))
        cloud[::step, half::step] = around(
            centres + np.roll(centres, 1, axis=0) + corners + np.roll(corners, -1, axis=1)
        )
        cloud[half::step, ::step] = around(
            centres + np.roll(centres, 1, axis=1) + corners + np.roll(corners, -1, axis=0)
        )
        step, roughness = half, roughness / decay
    cloud -= cloud.min()
    return np.asarray(cloud / cloud.max(), np.float32)
