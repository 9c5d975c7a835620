"""The split into training, validation and test images: a hash decides, so that an image never moves when others come.

What holds when a set grows, the source naming no splits: an image stays where it is unless an image with a smaller id
joins its group, by a near duplicate or an exact duplicate in another group of the source. So images that come with
larger ids, as numbered and dated files and database keys do, move nothing; but one that links two groups takes the
later group's images to the earlier's split. They cannot all stay: two near duplicates that came alone may have been
put apart, and a leak would be worse than a move.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sightline.datasets.raw_set import SPLITS
from sightline.stages.preprocess.groups import Groups
from sightline.stages.preprocess.split_config import SplitPlan

LEFT_OUT = len(SPLITS)
TRAIN, VAL, TEST = (SPLITS.index(split) for split in ("train", "val", "test"))
_BY_PROTECTION = np.array([TEST, VAL, TRAIN, LEFT_OUT])  # the most protected first
_PROTECTION = np.argsort(_BY_PROTECTION)


def draws(keys: Iterable[bytes], seed: int, purpose: bytes = b"split") -> npt.NDArray[np.float64]:
    """Returns a number in [0, 1) for each key: a hash of key, seed and purpose (BLAKE2b)."""
    start = hashlib.blake2b(f"{seed}\0".encode(), digest_size=8, person=purpose)
    digests = bytearray()
    for key in keys:
        state = start.copy()
        state.update(key)
        digests += state.digest()
    return np.frombuffer(digests, ">u8") / 2**64


@dataclass(frozen=True)
class SplitAssignment:
    """The splits of a set.

    Attributes:
        splits: [n] place in `SPLITS` of each image; `LEFT_OUT` for those that are in none.
        leaks: [m] positions of the images that the source put into a less protected split than others of their group.
    """

    splits: npt.NDArray[np.int8]
    leaks: npt.NDArray[np.int64]


def assign(given: npt.NDArray[np.int8], groups: Groups, plan: SplitPlan) -> SplitAssignment:
    """Assigns a split to every image, group by group; splits that the source names stay.

    A source that names a split for some images means it: where it sets a test split aside, no further images are
    taken for one. Images without a split join the most protected one of their group. Where the source has no test or
    no validation split, that one is taken from its training images.

    Args:
        given: [n] the source's split, as its place in `SPLITS`; `LEFT_OUT` where it names none.
        groups: The images' groups.
        plan: What is asked for.
    """
    named = set(np.flatnonzero(np.bincount(given, minlength=LEFT_OUT)[:LEFT_OUT]).tolist())
    numbers = draws(groups.keys(), plan.seed)
    drawn = _drawn(numbers, groups, plan, named)[groups.codes]
    if not named:
        return SplitAssignment(drawn, np.empty(0, np.int64))
    rank = _PROTECTION[given]
    safest = np.full(len(groups), _PROTECTION[LEFT_OUT])
    np.minimum.at(safest, groups.codes, rank)
    safest = safest[groups.codes]
    rank = np.where(given == LEFT_OUT, safest, rank)
    split = np.where(safest == _PROTECTION[LEFT_OUT], drawn, _BY_PROTECTION[rank])
    leak = rank != safest
    # All of a group's training images go to another split together, or none.
    split = np.where((rank == _PROTECTION[TRAIN]) & ~leak, drawn, split)
    if plan.leaks == "drop":
        split = np.where(leak, LEFT_OUT, split)
    return SplitAssignment(split.astype(np.int8), np.flatnonzero(leak))


def asked(given: npt.NDArray[np.int8], plan: SplitPlan) -> dict[str, float]:
    """Returns the share that each split that is drawn is to have, of the images that are drawn from."""
    named = {SPLITS[place] for place in np.unique(given[given != LEFT_OUT]).tolist()}
    wanted = {"val": plan.val_fraction, "test": plan.test_fraction}
    if plan.fold is not None:
        wanted["val" if "test" in named else "test"] = 1 / plan.fold.n
    return {split: share for split, share in wanted.items() if split not in named}


def _drawn(numbers: npt.NDArray[np.float64], groups: Groups, plan: SplitPlan, named: set[int]) -> npt.NDArray[np.int8]:
    """Draws every group's split among those that the source does not name itself."""
    out = np.full(len(numbers), TRAIN, np.int8)
    test = 0.0 if TEST in named else plan.test_fraction
    val = 0.0 if VAL in named else plan.val_fraction
    if plan.fold is None:
        out[numbers < test + val] = VAL
        out[numbers < test] = TEST
        return out
    held = np.floor(numbers * plan.fold.n) == plan.fold.k - 1
    if TEST in named:
        if VAL not in named:
            out[held] = VAL
        return out
    # A number of its own, so that validation images come from all other folds alike.
    others = draws(groups.keys(), plan.seed, b"fold-val")
    out[others * (1 - 1 / plan.fold.n) < val] = VAL
    out[held] = TEST
    return out
