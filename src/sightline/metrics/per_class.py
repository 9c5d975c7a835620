"""Scores of each class: every per-class metric of the table, with its interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sightline.metrics.base import Interval
from sightline.metrics.counts import Counts
from sightline.metrics.metric import PerClassMetric
from sightline.metrics.metric_table import of_kind


@dataclass(frozen=True)
class ClassScore:
    """Scores of one class.

    Attributes:
        support: Number of its test images.
        predicted: Number of images for which the model predicted it.
        correct: Number of these that are of this class.
        values: By metric name, the value.
        intervals: By metric name, the 95 % interval.
        trials: By metric name, the number of images that the value is based on.
    """

    support: int
    predicted: int
    correct: int
    values: dict[str, float]
    intervals: dict[str, Interval]
    trials: dict[str, int]

    @property
    def recall(self) -> float:
        """Fraction of its images that are predicted as it."""
        return self.values["recall"]


def scores(c: Counts) -> list[ClassScore]:
    """Returns each class's scores, in order of index.

    Args:
        c: Counts of one evaluation, [K].
    """
    metrics = of_kind(PerClassMetric)
    values = {name: each.values(c) for name, each in metrics.items()}
    intervals = {name: each.intervals(c) for name, each in metrics.items()}
    trials = {name: np.asarray(each.parts(c)[1]) for name, each in metrics.items()}
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
