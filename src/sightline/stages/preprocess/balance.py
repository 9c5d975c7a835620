"""Balance of groups over splits, by size and by class, one group after the other: the source's, or every image.

A large group that its hash draws into the test split takes that far past its share, and of a class with eight groups
every fourth would have no validation image. So groups are placed as patients are in a clinical trial, as they come
(Pocock and Simon, 1975: minimization): in order of their first image's id, each where its hash says if the shares stay
close to what is asked, and else where they come closest.

What a set does when it grows decides the rest. Groups of one class are placed without a look at other classes, so that
what comes to one class moves nothing in another; groups of several classes among themselves. A group's place follows
from those before it, so that groups with larger ids move nothing. Sizes count as powers of two, so that a group that
gets a few images more rarely moves one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

TOLERANCE, CLASS_TOLERANCE = 0.02, 0.05
"""By so much of the images, of a class's images, a share may be off before the hash is overruled."""
SLACK = 1.0
"""The excess over the best place's cost at which the hash's place is still taken, in squares of the group's size."""
PHASE = 1.0
"""The number of groups of the first one's size that a class may seem to begin with, in a part that it draws.

Else all classes would begin alike, with two groups for training, and many classes of three groups leave validation
nearly empty.
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
        groups: (code, images by class) in the order in which they are placed.
        numbers: [codes] what each group drew, in [0, 1).
        shares: Of the images that each part is to have; they add up to 1.
        phase: The numbers that a class draws, twice in [0, 1).

    Returns:
        By code, the place of its part in `shares`.
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
    """Groups that are placed with a look at each other.

    Args:
        shares: The share that each part is to have.
        first: The part that seems to have some images already.
        size: Number of images that it seems to have.
    """

    def __init__(self, shares: Sequence[float], first: int, size: float) -> None:
        self._shares = shares
        self._parts = [part for part, share in enumerate(shares) if share > 0]
        self._counts = {_ALL: [size * ((part == first) - share) for part, share in enumerate(shares)]}

    def place(self, sizes: Mapping[str, int], drawn: int) -> int:
        """Returns the part of the next group.

        Args:
            sizes: Its images by class.
            drawn: The part that its hash puts it into.
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
                # The sum of squares of what is off, each by its share, less what is the same for all places.
                cost[part] += count / size * (2 * excess / count + 1) / shares[part]
        best = min(parts, key=lambda part: (cost[part], (part - drawn) % len(shares)))
        chosen = drawn if fits or cost.get(drawn, math.inf) <= cost[best] + SLACK else best
        for name, count in whole.items():
            self._counts[name][chosen] += count
        return chosen
