"""Paired comparison of two models, in numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sightline.compare.run_predictions import RunPredictions
from sightline.compare.run_sources import RunPair
from sightline.core import columns
from sightline.metrics import classification, paired
from sightline.metrics.base import Interval, Labels
from sightline.reporting.formatting import p_value, points
from sightline.reporting.metric_titles import MetricTitle, known

SIGNIFICANT = 0.05
"""P-value below which a difference is considered real."""


@dataclass(frozen=True)
class MetricPair:
    """One metric of both models."""

    name: str
    metric: MetricTitle
    a: float
    b: float

    @property
    def main(self) -> bool:
        """Whether it belongs to the main metrics."""
        return self.metric.main

    @property
    def better(self) -> int:
        """1 if the first is better, -1 if the second is, 0 if they are equal as displayed."""
        if self.metric.shown(self.a) == self.metric.shown(self.b):
            return 0
        return self.metric.sign if self.a > self.b else -self.metric.sign


@dataclass(frozen=True)
class Comparison:
    """Result of comparing two models, `a` and `b`, on the same images.

    Attributes:
        difference: Accuracy of a minus that of b.
        interval: Its 95 % interval, paired (Tango's score interval).
        p: McNemar's exact two-sided p-value.
        both_right: Number of images that both predicted right.
        only_a: Positions of the images that only a predicted right.
        only_b: Positions of the images that only b predicted right.
        both_wrong: Number of images that neither predicted right.
        metrics: Each metric of both models.
        recalls: For each class, the recall of both and the number of images.
    """

    difference: float
    interval: Interval
    p: float
    both_right: int
    only_a: Labels
    only_b: Labels
    both_wrong: int
    metrics: list[MetricPair]
    recalls: list[tuple[float, float, int]]

    def verdict(self, a: str, b: str) -> str:
        """Returns a sentence: which model is better, or that these images do not show it."""
        low, high = self.interval
        lead = f"{points(self.difference)} points of accuracy, 95 % interval {points(low)} to {points(high)}"
        tested = f"McNemar's p {p_value(self.p)}"
        if self.p >= SIGNIFICANT:
            return f"These images do not show which is better: {lead}; {tested}."
        return f"The better one is {a if self.difference > 0 else b}: {lead}; {tested}."


def compare_models(a: RunPredictions, b: RunPredictions) -> Comparison:
    """Compares two models that `run_predictions.require_same` has accepted."""
    right_a, right_b = a.correct, b.correct
    difference, low, high = paired.difference(right_a, right_b)
    numbers = [
        classification.classification_metrics(s.labels, s.probabilities, per_class_limit=0, resamples=0) for s in (a, b)
    ]
    k = len(a.classes)
    scores = [classification.class_scores(s.labels, s.predicted, k) for s in (a, b)]
    return Comparison(
        difference=difference,
        interval=(low, high),
        p=paired.mcnemar(right_a, right_b),
        both_right=int((right_a & right_b).sum()),
        only_a=np.flatnonzero(right_a & ~right_b),
        only_b=np.flatnonzero(right_b & ~right_a),
        both_wrong=int((~right_a & ~right_b).sum()),
        metrics=[MetricPair(name, m, numbers[0][name], numbers[1][name]) for name, m in known(numbers[0]).items()],
        recalls=[(x.recall, y.recall, x.support) for x, y in zip(*scores, strict=True)],
    )


def comparison_lines(pair: RunPair, outcome: Comparison, width: int | None = None) -> list[str]:
    """Returns the lines for the terminal: differing settings, metrics, counts of errors, and the verdict.

    Args:
        pair: The two models.
        outcome: Their comparison.
        width: Characters in a line of the terminal; None for no wrapping.
    """
    a, b = pair.a, pair.b
    heads = ("", "first", "second")
    if pair.settings:
        differing = [*columns.table([heads, *pair.settings], width), ""]
    else:
        differing = ["no setting differs" if pair.settings_known else "the settings are not known for both", ""]
    rows = [heads]
    rows += [(s.metric.title, s.metric.shown(s.a), s.metric.shown(s.b)) for s in outcome.metrics]
    counted = (
        f"{len(a.ids):,} {pair.split} images: both right {outcome.both_right:,}, "
        f"only the first {len(outcome.only_a):,}, only the second {len(outcome.only_b):,}, "
        f"both wrong {outcome.both_wrong:,}"
    )
    verdict = outcome.verdict("the first", "the second")
    texts = [columns.folded(text, width) for text in (counted, verdict)]
    table = columns.table(rows, width, right=(1, 2))
    return [f"first:  {a.name}", f"second: {b.name}", "", *differing, *table, "", *texts]
