"""Augmented copies of training images: the options."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from sightline.config.schema import Option, require
from sightline.imaging.augment.options import Mix, RandAugment, TrivialAugment, Unchanged

MAX_COPIES = 100


def _check_copies(copies: int) -> None:
    require(1 <= copies <= MAX_COPIES, f"copies: must be 1 to {MAX_COPIES}, is {copies}; augment=none makes none")


@dataclass
class NoCopies(Unchanged):
    """No augmented copies. Attributes: copies, which is 0."""

    copies: int

    def __post_init__(self) -> None:
        require(self.copies == 0, "copies: augment=none leaves images as they are; choose another policy for copies")


@dataclass
class MixCopies(Mix):
    """CopyTask by `Mix`. Attributes: copies of each training image."""

    copies: int

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_copies(self.copies)


@dataclass
class RandAugmentCopies(RandAugment):
    """CopyTask by `RandAugment`. Attributes: copies of each training image."""

    copies: int

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_copies(self.copies)


@dataclass
class TrivialAugmentCopies(TrivialAugment):
    """CopyTask by `TrivialAugment`. Attributes: copies of each training image."""

    copies: int

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_copies(self.copies)


AUGMENT: dict[str, type[Option]] = {
    "none": NoCopies,
    "light": MixCopies,
    "standard": MixCopies,
    "digits": MixCopies,
    "cutout": MixCopies,
    "randaugment": RandAugmentCopies,
    "trivialaugment": TrivialAugmentCopies,
}


def policy_and_copies(option: Option) -> tuple[dict[str, Any], int]:
    """Returns one of `AUGMENT` as its policy (one of `imaging.augment.options.POLICIES`, plain) and its copies."""
    policy = dataclasses.asdict(option)
    return policy, policy.pop("copies")
