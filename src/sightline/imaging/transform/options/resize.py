"""The options of resizing: ranges, and what each is good for."""

from __future__ import annotations

from dataclasses import dataclass

from sightline.config.schema import Option


@dataclass
class Stretch(Option):
    """Scales width and height each to fit: every pixel is seen, shapes are distorted.

    Shrinking averages over areas, so that every pixel counts; enlarging is bilinear.
    Source: Quiring et al., Adversarial Preprocessing: image-scaling attacks, USENIX Security 2020 (why areas).
    """


@dataclass
class Pad(Option):
    """Scales to fit inside and fills the rest with the background (letterbox): every pixel is seen, shapes are kept."""


@dataclass
class Crop(Option):
    """Cuts the square from the middle and scales it: shapes are kept, what lies at the far ends is lost."""
