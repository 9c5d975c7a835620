"""Settings of the baseline stage, which are explained in `conf/baseline/default.yaml`."""

from __future__ import annotations

from dataclasses import dataclass

from sightline.config.schema import require, require_one_of
from sightline.models import packaged_weights
from sightline.stages.baseline.method import METHODS


@dataclass
class BaselineConfig:
    """The section `baseline` of the configuration."""

    methods: list[str]
    reference: str
    network: str
    learning_curve: str | None
    robustness_images: int
    folds: int
    tuning_images: int
    train_images: int
    kernel_images: int
    pixels_side: int
    epochs: int
    hog_cells: int
    sift_side: int
    words: int
    vocabulary_images: int
    seed: int
    threads: int
    minutes: float | None

    def __post_init__(self) -> None:
        """Checks ranges.

        Raises:
            ValueError: If a value is outside its range, naming the field.
        """
        for name in self.methods:
            require_one_of("methods", name, tuple(METHODS))
        twice = sorted({name for name in self.methods if self.methods.count(name) > 1})
        require(not twice, f"methods: {', '.join(twice)} is listed twice")
        require_one_of("reference", self.reference, tuple(METHODS))
        require_one_of("network", self.network, tuple(packaged_weights.DISTRIBUTIONS))
        if self.learning_curve is not None:
            require_one_of("learning_curve", self.learning_curve, tuple(METHODS))
        require(2 <= self.folds <= 20, f"folds: {self.folds} is not between 2 and 20")
        require(self.minutes is None or self.minutes > 0, f"minutes: {self.minutes} is not above 0")
        for name, least in _LEAST.items():
            value = getattr(self, name)
            require(value >= least, f"{name}: must be at least {least}, not {value}")


_LEAST = {
    "robustness_images": 0,
    "tuning_images": 2,
    "train_images": 2,
    "kernel_images": 2,
    "pixels_side": 1,
    "epochs": 1,
    "hog_cells": 2,  # a block is 2 x 2 cells
    "sift_side": 16,  # SIFT uses a neighbourhood of 16 x 16 samples
    "words": 2,
    "vocabulary_images": 1,
    "seed": 0,
    "threads": 1,
}
