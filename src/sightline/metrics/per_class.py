"""The numbers of each class. One entry of `PER_CLASS` makes a metric, its averages, its column in tables and report.

All of them are proportions, or one-to-one functions of a proportion, so that Wilson's interval holds for them. That of
F1 is the interval of Jaccard's index J, the share of right answers among the images that are of the class or were given
it: F1 = 2J / (1 + J), which grows with J.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sightline.metrics import counts
from sightline.metrics.base import Floats, Interval
from sightline.metrics.counts import Counts, Numbers
from sightline.metrics.intervals import wilson


def _same(share: float) -> float:
    return share


@dataclass(frozen=True)
class PerClass:
    """A number of each class, against all others.

    Attributes:
        name: As in the names of metrics.
        title: For a person.
        meaning: Likewise, in a few words.
        values: Counts -> its values, [..., K], in 0..1, the more the better.
        parts: Counts of one evaluation -> hits and trials of the proportion behind it, [K] each.
        of_share: That proportion -> the number.
    """

    name: str
    title: str
    meaning: str
    values: Callable[[Counts], Floats]
    parts: Callable[[Counts], tuple[Numbers, Numbers]]
    of_share: Callable[[float], float] = _same

    def intervals(self, c: Counts) -> list[Interval]:
        """Returns the 95 % interval of each class; (0, 1) where no image tells."""
        ends = [wilson(float(hits), float(trials)) for hits, trials in zip(*self.parts(c), strict=True)]
        return [(self.of_share(low), self.of_share(high)) for low, high in ends]


PER_CLASS = {
    each.name: each
    for each in (
        PerClass(
            "precision",
            "Precision",
            "of the images given a class, the share that is right (0 if none)",
            counts.precision,
            lambda c: (c.correct, c.predicted),
        ),
        PerClass(
            "recall",
            "Recall",
            "of a class's images, the share found",
            counts.recall,
            lambda c: (c.correct, c.support),
        ),
        PerClass(
            "f1",
            "F1",
            "harmonic mean of precision and recall",
            counts.f1,
            lambda c: (c.correct, c.predicted + c.support - c.correct),
            lambda jaccard: 2 * jaccard / (1 + jaccard),
        ),
        PerClass(
            "specificity",
            "Specificity",
            "of other classes' images, the share not given the class",
            counts.specificity,
            lambda c: (c.images - c.support - (c.predicted - c.correct), c.images - c.support),
        ),
    )
}


@dataclass(frozen=True)
class ClassScore:
    """How one class fares.

    Attributes:
        support: Its test images.
        predicted: How often the model predicted it.
        correct: How often rightly.
        values: By name of `PER_CLASS`.
        intervals: Likewise, 95 %.
        trials: Likewise, on how many images the number rests.
    """

    support: int
    predicted: int
    correct: int
    values: dict[str, float]
    intervals: dict[str, Interval]
    trials: dict[str, int]

    @property
    def recall(self) -> float:
        """Share of its images that were found."""
        return self.values["recall"]


def scores(c: Counts) -> list[ClassScore]:
    """Returns each class's scores, in order of index.

    Args:
        c: Counts of one evaluation, [K].
    """
    values = {name: each.values(c) for name, each in PER_CLASS.items()}
    intervals = {name: each.intervals(c) for name, each in PER_CLASS.items()}
    trials = {name: np.asarray(each.parts(c)[1]) for name, each in PER_CLASS.items()}
    return [
        ClassScore(
            support=int(c.support[i]),
            predicted=int(c.predicted[i]),
            correct=int(c.correct[i]),
            values={name: float(value[i]) for name, value in values.items()},
            intervals={name: ends[i] for name, ends in intervals.items()},
            trials={name: int(number[i]) for name, number in trials.items()},
        )
        for i in range(len(c.support))
    ]
