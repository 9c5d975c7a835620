"""The split into training, validation and test images, by a hash, so that it is stable when images are added.

If the source names no splits, this holds when a set grows: an image stays in its split unless an image with a smaller
id joins its group, through a near duplicate or through an exact duplicate in another group of the source. So new images
with larger ids (numbered or dated files, database keys) move nothing, with one exception: an image that links two
groups moves the later group's images to the earlier group's split. This cannot be avoided, because two near duplicates
may have been put into different splits before, and a leak is worse than a move. The source's groups are also balanced,
as are all images of a small set on request, which makes their splits somewhat less stable: see `balance`.
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
        splits: [n] int8, each image's position in `SPLITS`; `LEFT_OUT` for images that are in no split.
        leaks: [m] int64, positions of images that the source put into a less protected split than others of their
            group.
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
    """Assigns a split to every image, group by group; the source's own splits are kept.

    If the source has a test split, no further images are drawn for one; the same holds for validation. Images without a
    split join the most protected split of their group. A missing test or validation split is drawn from the training
    images.

    Args:
        given: [n] int8, the source's split as its position in `SPLITS`; `LEFT_OUT` if it names none.
        groups: The images' groups.
        plan: The requested splits.
        labels: [n] int32, class index of each image; None if all are of one class.
        classes: Class names in order of index.
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
    # A group's training images move to a drawn split all together or not at all.
    split = np.where((rank == _PROTECTION[TRAIN]) & ~leak, drawn, split)
    if plan.leaks == "drop":
        split = np.where(leak, LEFT_OUT, split)
    return SplitAssignment(split.astype(np.int8), np.flatnonzero(leak))


def asked(given: npt.NDArray[np.int8], plan: SplitPlan) -> dict[str, float]:
    """Returns the requested share of each split that is drawn, relative to the images it is drawn from."""
    named = {SPLITS[place] for place in np.unique(given[given != LEFT_OUT]).tolist()}
    wanted = {"val": plan.val_fraction, "test": plan.test_fraction}
    if plan.fold is not None:
        wanted["val" if "test" in named else "test"] = 1 / plan.fold.n
    return {split: share for split, share in wanted.items() if split not in named}


_Contents = dict[int, dict[str, int]]


def _contents(
    groups: Groups, free: npt.NDArray[np.bool_], labels: npt.NDArray[np.int32] | None, classes: Sequence[str]
) -> _Contents:
    """Returns the groups to balance, in order, with their number of images by class.

    Args:
        groups: The images' groups.
        free: [groups] whether a group has no image in the source's validation or test split.
        labels: [n] class index of each image; None if all are of one class.
        classes: Class names in order of index.
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
    """Draws one of several parts for every group; the groups in `contents` are balanced.

    Returns:
        [groups] int64, index in `shares` of each group's part.
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
    """Draws every group's split from those that the source does not have."""
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
    # A separate draw, so that validation images come equally from all other folds.
    val /= 1 - 1 / plan.fold.n
    others = {code: classes for code, classes in contents.items() if not held[code]}
    out[_parts(groups, plan, b"fold-val", [val, 1 - val], others) == 0] = VAL
    out[held] = TEST
    return out
