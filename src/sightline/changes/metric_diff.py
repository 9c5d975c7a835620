"""The difference between the metrics of two states of the project, with a verdict on each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sightline.changes.dataset_diff import DatasetState
from sightline.compare.comparison import SIGNIFICANT
from sightline.datasets.predictions import Predictions
from sightline.metrics import paired
from sightline.metrics.base import Interval
from sightline.reporting.metric_titles import MetricTitle, known


@dataclass(frozen=True)
class MetricChange:
    """One metric before and after.

    Attributes:
        title: Its display name.
        before: Its earlier value.
        after: Its later value.
        interval: 95 % interval of the difference, later minus earlier; None if the metric has no intervals.
        real: Whether the difference is more than chance; None if that is unknown.
    """

    title: MetricTitle
    before: float
    after: float
    interval: Interval | None
    real: bool | None

    @property
    def verdict(self) -> str:
        """The verdict in words."""
        if self.real is None:
            return "no interval"
        if not self.real:
            return "cannot be told apart"
        return "better" if (self.after - self.before) * self.title.sign > 0 else "worse"


@dataclass(frozen=True)
class PairedChange:
    """The predictions for the test images that both states share, unchanged.

    Attributes:
        images: Number of images.
        difference: Later minus earlier accuracy on these images.
        interval: Its 95 % interval (Tango's).
        p: McNemar's exact two-sided p-value.
        to_right: Ids of images that were predicted wrong before, and right after.
        to_wrong: Ids of images that were predicted right before, and wrong after.
        same_split: Whether both test splits consist of exactly these images.
    """

    images: int
    difference: float
    interval: Interval
    p: float
    to_right: Sequence[str]
    to_wrong: Sequence[str]
    same_split: bool

    @property
    def verdict(self) -> str:
        """The verdict in words."""
        if self.p >= SIGNIFICANT:
            return "cannot be told apart"
        return "better" if self.difference > 0 else "worse"


def changes(before: Mapping[str, float], after: Mapping[str, float]) -> list[MetricChange]:
    """Returns the main metrics that both states have, with the unpaired interval of each difference.

    The interval is computed from the two metrics' own intervals: Zou and Donner (2008), "Construction of confidence
    limits about effect measures", Statistics in Medicine 27. It assumes independence: for scores on the same images, it
    is wider than necessary.
    """
    found = []
    for name, title in known(after).items():
        if not title.main or name not in before:
            continue
        a, b = before[name], after[name]
        bounds = [metrics.get(f"{name}_{end}") for metrics in (before, after) for end in ("low", "high")]
        interval = None
        if all(bound is not None for bound in bounds):
            low_a, high_a, low_b, high_b = (float(bound) for bound in bounds if bound is not None)
            below, above = math.hypot(b - low_b, high_a - a), math.hypot(high_b - b, a - low_a)
            interval = b - a - below, b - a + above
        real = None if interval is None else not interval[0] <= 0 <= interval[1]
        found.append(MetricChange(title, a, b, interval, real))
    return found


def paired_change(before: Predictions, after: Predictions, old: DatasetState, new: DatasetState) -> PairedChange | None:
    """Compares predictions for the test images that both have, with the same bytes and label; None without any."""
    places = [{id_: place for place, id_ in enumerate(answers.ids)} for answers in (before, after)]
    common = [
        id_
        for id_ in sorted(places[0].keys() & places[1].keys())
        if id_ in old.images and id_ in new.images
        if (old.images[id_].sha256, old.images[id_].label) == (new.images[id_].sha256, new.images[id_].label)
    ]
    if not common:
        return None
    first, second = (
        answers.correct[[place[id_] for id_ in common]] for answers, place in zip((before, after), places, strict=True)
    )
    difference, low, high = paired.difference(second, first)
    return PairedChange(
        images=len(common),
        difference=difference,
        interval=(low, high),
        p=paired.mcnemar(second, first),
        to_right=[common[i] for i in np.flatnonzero(second & ~first)],
        to_wrong=[common[i] for i in np.flatnonzero(first & ~second)],
        same_split=len(common) == len(before.ids) == len(after.ids),
    )
