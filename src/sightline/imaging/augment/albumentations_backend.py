"""Augmentation of single images by Albumentations (2.0.8 is its last release under MIT)."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sightline.config.schema import Option
from sightline.imaging.augment.options import BasicAugment, RandAugment, TrivialAugment

if TYPE_CHECKING:
    import albumentations

Image = npt.NDArray[np.uint8]
Augmentation = Callable[[Image, int], Image]

_SHEAR = 17.0  # degrees: 0.3 in RandAugment's table, which the other maximum strengths are from as well
_SHIFT = 0.45
_TURN = 30.0
_LIGHT = 0.9


def build(policy: Option, shape: tuple[int, int, int]) -> Augmentation | None:
    """Builds the function (image, seed) -> image of a policy; None if the policy changes nothing.

    The result is a pure function of image and seed. (Albumentations' own seed depends on the number of workers, and
    gives all transforms of a list the same random numbers: a flip would always come with the same rotation.)

    Args:
        policy: One of `options.POLICIES`.
        shape: [H, W, C] of every image; with 2 or 4 channels the last is a mask, which moves with the image but keeps
            its levels.
    """
    if not isinstance(policy, BasicAugment | RandAugment | TrivialAugment):
        return None
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # importing it would check online for a newer version
    import albumentations as A  # noqa: N812 (its own convention; the import takes 5 s, which "none" avoids)
    import cv2

    cv2.setNumThreads(0)  # parallelism comes from the surrounding processes
    rgb = shape[2] >= 3
    steps: list[albumentations.BasicTransform] = [A.HorizontalFlip(p=policy.flip)] if policy.flip else []
    drawn = 0
    operations: list[tuple[albumentations.BasicTransform, ...]] = []
    if isinstance(policy, BasicAugment):
        steps += _mix(A, policy, shape, rgb)
    elif isinstance(policy, RandAugment):
        drawn, operations = policy.operations, _operations(A, policy.magnitude, policy.magnitude, rgb)
    else:
        drawn, operations = 1, _operations(A, 0.0, 1.0, rgb)
    masked = shape[2] in (2, 4)

    def augment(image: Image, seed: int) -> Image:
        chance, numbers = random.Random(seed), np.random.default_rng(seed)  # noqa: S311 - not for secrets
        chosen = [chance.choice(chance.choice(operations)) for _ in range(drawn)]
        state: dict[str, Any] = {"image": image[..., :-1], "mask": image[..., -1]} if masked else {"image": image}
        state = {name: np.ascontiguousarray(value) for name, value in state.items()}
        for step in [*steps, *chosen]:
            step.set_random_state(numbers, chance)
            state = step(**state)
        result = state["image"].reshape(*shape[:2], -1)
        return np.dstack([result, state["mask"]]) if masked else result

    return augment


def _mix(A: Any, policy: BasicAugment, shape: tuple[int, int, int], rgb: bool) -> list[Any]:  # noqa: N803
    import cv2

    steps = []
    if policy.crop:
        steps.append(A.RandomResizedCrop(size=shape[:2], scale=(1 - policy.crop, 1), p=1))
    if policy.translate or policy.rotate or policy.scale:
        steps.append(
            A.Affine(
                translate_percent=(-policy.translate, policy.translate),
                rotate=(-policy.rotate, policy.rotate),
                scale=(1 - policy.scale, 1 + policy.scale),
                border_mode=cv2.BORDER_REPLICATE,
                p=1,
            )
        )
    if policy.brightness or policy.contrast:
        steps.append(
            A.RandomBrightnessContrast(brightness_limit=policy.brightness, contrast_limit=policy.contrast, p=0.5)
        )
    if policy.saturation and rgb:
        around = (1 - policy.saturation, 1 + policy.saturation)
        steps.append(A.ColorJitter(brightness=(1, 1), contrast=(1, 1), saturation=around, hue=(0, 0), p=0.5))
    if policy.cutout:
        side = (policy.cutout, policy.cutout)
        steps.append(
            A.CoarseDropout(num_holes_range=(1, 1), hole_height_range=side, hole_width_range=side, fill=0, p=0.5)
        )
    return steps


def _operations(A: Any, low: float, high: float, rgb: bool) -> list[tuple[Any, ...]]:  # noqa: N803
    """Returns RandAugment's operations (Cubuk et al. 2020, figure 2); directed ones as pairs of both signs."""
    import cv2

    border = cv2.BORDER_REPLICATE

    def moved(of: Callable[[tuple[float, float]], dict[str, Any]], most: float) -> tuple[Any, ...]:
        ranges = ((low * most, high * most), (-high * most, -low * most))
        return tuple(A.Affine(**of(r), border_mode=border, p=1) for r in ranges)

    def lit(of: Callable[[tuple[float, float]], Any]) -> tuple[Any, ...]:
        return of((low * _LIGHT, high * _LIGHT)), of((-high * _LIGHT, -low * _LIGHT))

    def jittered(r: tuple[float, float]) -> Any:
        return A.ColorJitter(brightness=(1, 1), contrast=(1, 1), saturation=(1 + r[0], 1 + r[1]), hue=(0, 0), p=1)

    bits = (round(8 - 4 * high), round(8 - 4 * low))
    found: list[tuple[Any, ...]] = [
        (A.NoOp(p=1),),
        (A.AutoContrast(method="pil", p=1),),
        (A.Equalize(p=1),),
        moved(lambda r: {"rotate": r}, _TURN),
        moved(lambda r: {"shear": {"x": r, "y": (0, 0)}}, _SHEAR),
        moved(lambda r: {"shear": {"x": (0, 0), "y": r}}, _SHEAR),
        moved(lambda r: {"translate_percent": {"x": r, "y": (0, 0)}}, _SHIFT),
        moved(lambda r: {"translate_percent": {"x": (0, 0), "y": r}}, _SHIFT),
        lit(lambda r: A.RandomBrightnessContrast(brightness_limit=r, contrast_limit=(0, 0), p=1)),
        lit(lambda r: A.RandomBrightnessContrast(brightness_limit=(0, 0), contrast_limit=r, p=1)),
        (A.Sharpen(alpha=(low * _LIGHT, high * _LIGHT), lightness=(1, 1), p=1),),
        (A.Posterize(num_bits=bits, p=1),),
        (A.Solarize(threshold_range=(1 - high, 1 - low), p=1),),
    ]
    return [*found, lit(jittered)] if rgb else found
