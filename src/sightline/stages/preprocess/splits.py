"""The split into training, validation and test images: a hash decides, so that an image never moves when others come.

What holds when a set grows, the source naming no splits: an image stays where it is unless an image with a smaller id
joins its group, by a near duplicate or an exact duplicate in another group of the source. So images that come with
larger ids, as numbered and dated files and database keys do, move nothing; but one that links two groups takes the
later group's images to the earlier's split. They cannot all stay: two near duplicates that came alone may have been
put apart, and a leak would be worse than a move. The source's own groups are balanced as well, and so is every image of
a small set if it is asked for, which costs them some of that: see `balance`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sightline.datasets.raw_set import SPLITS
from sightline.stages.preprocess.balance import balance
from sightline.stages.preprocess.groups import Codes, Groups
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


def assign(
    given: npt.NDArray[np.int8],
    groups: Groups,
    plan: SplitPlan,
    labels: npt.NDArray[np.int32] | None = None,
    classes: Sequence[str] = ("",),
) -> SplitAssignment:
    """Assigns a split to every image, group by group; splits that the source names stay.

    A source that names a split for some images means it: where it sets a test split aside, no further images are
    taken for one. Images without a split join the most protected one of their group. Where the source has no test or
    no validation split, that one is taken from its training images.

    Args:
        given: [n] the source's split, as its place in `SPLITS`; `LEFT_OUT` where it names none.
        groups: The images' groups.
        plan: The splits that are asked for.
        labels: [n] class index of each image; None where all are of one.
        classes: The classes' names in order of index.
    """
    named = set(np.flatnonzero(np.bincount(given, minlength=LEFT_OUT)[:LEFT_OUT]).tolist())
    rank = _PROTECTION[given]
    safest = np.full(len(groups), _PROTECTION[LEFT_OUT])
    if named:
        np.minimum.at(safest, groups.codes, rank)
    contents = _contents(groups, safest >= _PROTECTION[TRAIN], labels, classes)
    drawn = _drawn(groups, plan, named, contents)[groups.codes]
    if not named:
        return SplitAssignment(drawn, np.empty(0, np.int64))
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


_Contents = dict[int, dict[str, int]]


def _contents(
    groups: Groups, free: npt.NDArray[np.bool_], labels: npt.NDArray[np.int32] | None, classes: Sequence[str]
) -> _Contents:
    """Returns the groups that are balanced in order, with their number of images by class.

    Args:
        groups: The images' groups.
        free: [groups] whether a group is in none of the source's splits that are kept as they are.
        labels: [n] class index of each image; None where all are of one.
        classes: The classes' names in order of index.
    """
    result: _Contents = {code: {} for code in groups.balanced if free[code]}
    if result:
        wanted = np.zeros(len(groups), np.bool_)
        wanted[list(result)] = True
        inside = wanted[groups.codes]
        codes = groups.codes[inside]
        label = np.zeros(len(codes), np.int64) if labels is None else labels[inside].astype(np.int64)
        pairs, counts = np.unique(codes * len(classes) + label, return_counts=True)
        for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
            code, index = divmod(pair, len(classes))
            result[code][classes[index]] = count
    return result


def _parts(groups: Groups, plan: SplitPlan, purpose: bytes, shares: list[float], contents: _Contents) -> Codes:
    """Draws one of several parts for every group; those in `contents` are balanced.

    Returns:
        [groups] place in `shares` of each group's part.
    """
    numbers = draws(groups.keys(), plan.seed, purpose)
    parts = np.searchsorted(np.cumsum(shares)[:-1], numbers, side="right")

    def phase(name: str) -> tuple[float, float]:
        first, second = draws([f"{name}\0{side}".encode() for side in "ab"], plan.seed, purpose + b"-phase")
        return float(first), float(second)

    for code, part in balance(contents.items(), numbers, shares, phase).items():
        parts[code] = part
    return parts


def _drawn(groups: Groups, plan: SplitPlan, named: set[int], contents: _Contents) -> npt.NDArray[np.int8]:
    """Draws every group's split among those that the source does not name itself."""
    out = np.full(len(groups), TRAIN, np.int8)
    test = 0.0 if TEST in named else plan.test_fraction
    val = 0.0 if VAL in named else plan.val_fraction
    if plan.fold is None:
        parts = _parts(groups, plan, b"split", [test, val, 1 - test - val], contents)
        return np.array([TEST, VAL, TRAIN], np.int8)[parts]
    held = _parts(groups, plan, b"split", [1 / plan.fold.n] * plan.fold.n, contents) == plan.fold.k - 1
    if TEST in named:
        if VAL not in named:
            out[held] = VAL
        return out
    # A number of its own, so that validation images come from all other folds alike.
    val /= 1 - 1 / plan.fold.n
    others = {code: classes for code, classes in contents.items() if not held[code]}
    out[_parts(groups, plan, b"fold-val", [val, 1 - val], others) == 0] = VAL
    out[held] = TEST
    return out
