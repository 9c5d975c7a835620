"""Balanced assignment of groups to splits, by size and by class: of the source's groups, or of all groups.

With a hash alone, a single large group could push the test split far past its share, and one in four classes of eight
groups would have no validation image. So groups are assigned sequentially, as patients are in a clinical trial (Pocock
and Simon, 1975: minimization): in order of their first image's id, each to the split that its hash selects if the
shares stay close to the requested ones, and otherwise to the split that brings them closest.

Assignments should stay stable when a set grows. Groups of one class are placed independently of other classes, so that
new images of one class move nothing in another; groups with several classes are balanced among themselves. A group's
split depends only on the groups before it, so that new groups with larger ids move nothing. Sizes are rounded to powers
of two, so that a few more images in a group rarely move another one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

TOLERANCE, CLASS_TOLERANCE = 0.02, 0.05
"""Deviation of a split's share, of all images and of a class's images, above which the hash is overruled."""
SLACK = 1.0
"""The hash's choice is still taken if its cost exceeds the best one's by at most this, in squared group sizes."""
PHASE = 1.0
"""Maximum size of a class's random virtual head start in one split, in sizes of the class's first group.

Without it all classes would start alike, with two groups for training, and a set of many classes of three groups each
would have a nearly empty validation split.
"""

_ALL = ""


def balance(
    groups: Iterable[tuple[int, Mapping[str, int]]],
    numbers: npt.NDArray[np.float64],
    shares: Sequence[float],
    phase: Callable[[str], tuple[float, float]],
) -> dict[int, int]:
    """Divides groups into parts.

    Args:
        groups: (code, number of images by class) in the order of placement.
        numbers: [codes] float64, each group's draw in [0, 1).
        shares: Requested share of each part; they add up to 1.
        phase: Returns the two draws of a class by its name, each in [0, 1).

    Returns:
        By group code, the index of its part in `shares`.
    """
    ends = np.cumsum(shares)[:-1]
    streams: dict[str, _Stream] = {}
    out = {}
    for code, classes in groups:
        sizes = {name: 2 ** round(math.log2(count)) for name, count in classes.items()}
        name = next(iter(sizes)) if len(sizes) == 1 else _ALL
        if name not in streams:
            part, size = phase(name) if name != _ALL else (0.0, 0.0)
            first = int(np.searchsorted(ends, part, side="right"))
            streams[name] = _Stream(shares, first, size * PHASE * sum(sizes.values()))
        out[code] = streams[name].place(sizes, int(np.searchsorted(ends, numbers[code], side="right")))
    return out


class _Stream:
    """A sequence of groups that are balanced against each other.

    Args:
        shares: Requested share of each part.
        first: The part with a virtual head start.
        size: The head start, in images.
    """

    def __init__(self, shares: Sequence[float], first: int, size: float) -> None:
        self._shares = shares
        self._parts = [part for part, share in enumerate(shares) if share > 0]
        self._counts = {_ALL: [size * ((part == first) - share) for part, share in enumerate(shares)]}

    def place(self, sizes: Mapping[str, int], drawn: int) -> int:
        """Returns the part of the next group.

        Args:
            sizes: Its number of images by class.
            drawn: The part that its hash selects.
        """
        size, shares, parts = sum(sizes.values()), self._shares, self._parts
        whole = {_ALL: size} if len(sizes) == 1 else {_ALL: size, **sizes}
        fits = True
        cost = dict.fromkeys(parts, 0.0)
        for name, count in whole.items():
            have = self._counts.setdefault(name, [0.0] * len(shares))
            total = sum(have) + count
            most = total * (TOLERANCE if len(whole) > 1 and name == _ALL else CLASS_TOLERANCE)
            for part in parts:
                excess = have[part] - shares[part] * total
                fits = fits and abs(excess + count * (part == drawn)) <= most
                # The share-weighted sum of squared deviations, without the terms that are the same for all parts.
                cost[part] += count / size * (2 * excess / count + 1) / shares[part]
        best = min(parts, key=lambda part: (cost[part], (part - drawn) % len(shares)))
        chosen = drawn if fits or cost.get(drawn, math.inf) <= cost[best] + SLACK else best
        for name, count in whole.items():
            self._counts[name][chosen] += count
        return chosen
