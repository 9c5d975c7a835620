"""Settings of the split; imports nothing heavy."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Fold:
    """The k-th of n folds, 1 <= k <= n."""

    k: int
    n: int

    @classmethod
    def parse(cls, text: str) -> Fold:
        """Reads "k of n".

        Raises:
            ValueError: If the text does not have that form.
        """
        found = re.fullmatch(r"\s*(\d{1,4})\s+of\s+(\d{1,4})\s*", text)
        if not found or not 1 <= int(found[1]) <= int(found[2]) or int(found[2]) < 2:
            raise ValueError(f"{text!r} is not 'k of n' with 1 <= k <= n and n >= 2, such as '2 of 5'")
        return cls(int(found[1]), int(found[2]))


@dataclass(frozen=True)
class SplitPlan:
    """The division of a set into splits.

    Attributes:
        val_fraction: Share of groups for validation, 0 to 1.
        test_fraction: Share of groups for the test, 0 to 1; ignored if `fold` is set.
        seed: Seed of the split; different seeds give independent splits.
        fold: The fold of images that becomes the test split; over all n folds each image is in it once. If the source
            has its own test split, the fold becomes the validation split instead.
        leaks: Treatment of an image that the source put into a split although its group has members in a more
            protected one (test before val before train): "drop" leaves it out, "keep" keeps it, "fail" ends the stage.
    """

    val_fraction: float
    test_fraction: float
    seed: int
    fold: Fold | None = None
    leaks: str = "drop"
