"""Augmentation policies: the options and their ranges; no heavy imports.

The same names are used online (`conf/train/augment/`) and offline (`conf/preprocess/augment/`).
"""

from __future__ import annotations

from dataclasses import dataclass

from sightline.config.schema import Option, Registry, require

POLICIES: Registry[Option] = Registry("train/augment")


@POLICIES.register("none")
@dataclass
class NoAugment(Option):
    """Leaves images unchanged."""


@POLICIES.register("light", "standard", "digits", "cutout")
@dataclass
class BasicAugment(Option):
    """A fixed list of changes, each by a random amount; 0 turns a change off.

    Attributes:
        flip: Probability of a horizontal flip.
        crop: Largest fraction of the area that a random crop cuts away; the rest is scaled back to full size.
        translate: Largest shift as a fraction of the image's size.
        rotate: Largest rotation, in degrees.
        scale: Largest relative change of size.
        brightness: Largest relative change of brightness.
        contrast: Largest relative change of contrast.
        saturation: Largest relative change of saturation; RGB only.
        cutout: Side of one erased square as a fraction of the image's (DeVries and Taylor 2017), with probability 1/2.
    """

    flip: float
    crop: float
    translate: float
    rotate: float
    scale: float
    brightness: float
    contrast: float
    saturation: float
    cutout: float

    def __post_init__(self) -> None:
        for name in ("flip", "translate", "brightness", "contrast", "saturation", "cutout"):
            value = getattr(self, name)
            require(0 <= value <= 1, f"{name}: must be in [0, 1], not {value}")
        for name in ("crop", "scale"):
            value = getattr(self, name)
            require(0 <= value < 1, f"{name}: must be in [0, 1), not {value}")
        require(0 <= self.rotate <= 180, f"rotate: must be in [0, 180] degrees, not {self.rotate}")


@POLICIES.register("randaugment")
@dataclass
class RandAugment(Option):
    """Some operations drawn from a fixed list, all with the same strength (Cubuk et al. 2020).

    Attributes:
        flip: Probability of a horizontal flip, before the operations.
        operations: Number of operations drawn for an image, with replacement.
        magnitude: Their strength, 0 (nothing) to 1 (the paper's 30).
    """

    flip: float
    operations: int
    magnitude: float

    def __post_init__(self) -> None:
        for name in ("flip", "magnitude"):
            value = getattr(self, name)
            require(0 <= value <= 1, f"{name}: must be in [0, 1], not {value}")
        require(1 <= self.operations <= 10, f"operations: must be 1 to 10, not {self.operations}")


@POLICIES.register("trivialaugment")
@dataclass
class TrivialAugment(Option):
    """One operation of RandAugment's list with a random strength: nothing to tune (Mueller and Hutter 2021).

    Attributes:
        flip: Probability of a horizontal flip, before the operation.
    """

    flip: float

    def __post_init__(self) -> None:
        require(0 <= self.flip <= 1, f"flip: must be in [0, 1], not {self.flip}")
