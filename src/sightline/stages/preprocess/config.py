"""The schema of the preprocess section; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

from sightline.config.schema import Option, choice, require, require_one_of
from sightline.imaging.transform.clean import CLEAN
from sightline.imaging.transform.denoise import DENOISE
from sightline.imaging.transform.enhance import ENHANCE
from sightline.imaging.transform.resize import RESIZE, Resize
from sightline.imaging.transform.segment import SEGMENT, Segmentation
from sightline.imaging.transform.step import Step
from sightline.stages.preprocess.backends import BACKEND, Backend
from sightline.stages.preprocess.options import AUGMENT
from sightline.stages.preprocess.split_config import Fold, SplitPlan


@dataclass(kw_only=True)
class PreprocessConfig:
    """The preprocess section.

    Attributes:
        clean: First step of the transform.
        denoise: Second step.
        enhance: Third step.
        segment: Fourth step.
        resize: Last step, which brings images to a fixed size.
        augment: The augmentation policy for copies of training images.
        backend: The executor of the tasks; the result does not depend on it.
        size: Height and width of every image, in pixels.
        channels: 1 (grey) or 3 (RGB).
        sample_bits: Number of bits of the white level in files with 16-bit samples, 8 to 16.
        background: Grey level, 0 to 255, behind transparent pixels and around letterboxed images.
        copies: Number of augmented copies of each training image, which the options of `augment` read.
        augment_seed: Seed of the augmented copies.
        val_fraction: Share of images for validation, in [0, 1).
        test_fraction: Share of images for the test, in [0, 1).
        split_seed: Seed of the split.
        fold: "k of n" for cross-validation, or None.
        balance: "groups" balances the source's groups, and splits all other images by hash alone; "images" balances
            all images.
        leaks: Treatment of images of the source's training split that have a duplicate in its test split.
        memo_gib: Size limit of the cache, in GiB.
    """

    clean: Step = choice(CLEAN)
    denoise: Step = choice(DENOISE)
    enhance: Step = choice(ENHANCE)
    segment: Segmentation = choice(SEGMENT)
    resize: Resize = choice(RESIZE)
    augment: Option = choice(AUGMENT)
    backend: Backend = choice(BACKEND)
    size: int
    channels: int
    sample_bits: int
    background: int
    copies: int
    augment_seed: int
    val_fraction: float
    test_fraction: float
    split_seed: int
    fold: str | None
    balance: str
    leaks: str
    memo_gib: float

    def __post_init__(self) -> None:
        require(1 <= self.size <= 4096, f"size: must be 1 to 4096 pixels, not {self.size}")
        require(self.channels in (1, 3), f"channels: must be 1 or 3, not {self.channels}")
        require(8 <= self.sample_bits <= 16, f"sample_bits: must be 8 to 16, not {self.sample_bits}")
        color = getattr(self.clean, "color", "keep")
        require(
            self.channels == 3 or color in ("keep", "grey"),
            f"clean.color: {color!r} needs preprocess.channels=3",
        )
        require(0 <= self.background <= 255, f"background: must be 0 to 255, not {self.background}")
        for name in ("val_fraction", "test_fraction"):
            value = getattr(self, name)
            require(0 <= value < 1, f"{name}: must be in [0, 1), not {value}")
        require_one_of("balance", self.balance, ("groups", "images"))
        require_one_of("leaks", self.leaks, ("drop", "keep", "fail"))
        require(self.memo_gib >= 0, f"memo_gib: must be at least 0, not {self.memo_gib:g}")
        try:
            plan = self.plan
        except ValueError as error:
            raise ValueError(f"fold: {error}") from None
        if plan.fold:
            rest = 1 - 1 / plan.fold.n
            require(
                self.val_fraction < rest,
                f"val_fraction: {self.val_fraction:g} leaves nothing to train on with fold={self.fold!r}",
            )
        else:
            total = self.val_fraction + self.test_fraction
            require(total < 1, f"val_fraction: leaves nothing to train on: with test_fraction it is {total:g}")

    @property
    def plan(self) -> SplitPlan:
        """The division of the set into splits."""
        fold = None if self.fold is None else Fold.parse(self.fold)
        return SplitPlan(self.val_fraction, self.test_fraction, self.split_seed, fold, self.leaks)
