"""Kinds of metrics, by what they are computed from, which determines how their intervals are computed.

A metric is a function with a name, title, meaning and direction: an entry of `metric_table.METRICS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sightline.metrics.base import Bools, Floats, Interval, Labels
from sightline.metrics.bootstrap import ResamplingPool
from sightline.metrics.counts import Counts, Numbers
from sightline.metrics.intervals import wilson
from sightline.metrics.ranking import Weights


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric of an evaluation.

    Attributes:
        name: Its key in `metrics_detail.json`; per-class metrics append `_macro`, `_weighted` or `/class_<i>`.
        title: Its heading in tables and reports.
        meaning: Its meaning, in a few words.
        formula: Its formula, or a remark on its definition, for the documentation.
        source: The paper that introduced it.
        higher_is_better: Its direction.
        in_percent: Whether it is shown as a percentage.
        main: Whether it is among the main metrics (for metrics with averages, the macro average); the others are
            largely redundant.
        before_calibration: Whether it is also computed for the probabilities before calibration.
    """

    name: str
    title: str
    meaning: str
    formula: str = ""
    source: str = ""
    higher_is_better: bool = True
    in_percent: bool = False
    main: bool = False
    before_calibration: bool = False


@dataclass(frozen=True, kw_only=True)
class HitMetric(Metric):
    """A fraction of the images; its interval is Wilson's.

    Attributes:
        hits: Labels [n], probabilities [n, K] -> which images count, [n].
    """

    hits: Callable[[Labels, Floats], Bools]
    in_percent: bool = True


@dataclass(frozen=True, kw_only=True)
class CountMetric(Metric):
    """A function of the confusion matrix; its interval is a smoothed bootstrap's.

    Attributes:
        value: Counts -> its value, [...].
        bounds: Its range.
    """

    value: Callable[[Counts], Floats]
    bounds: Interval = (0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class PerClassMetric(Metric):
    """A one-vs-rest metric of each class, with a macro and a weighted average.

    It is a proportion, or a monotonic function of one, so that Wilson's interval applies.

    Attributes:
        values: Counts -> its values, [..., K], in 0..1; higher is better.
        parts: Counts of one evaluation -> hits and trials of the underlying proportion, [K] each.
        of_share: The proportion -> the metric.
    """

    values: Callable[[Counts], Floats]
    parts: Callable[[Counts], tuple[Numbers, Numbers]]
    of_share: Callable[[float], float] = float
    in_percent: bool = True

    def intervals(self, c: Counts) -> list[Interval]:
        """Returns the 95 % interval of each class; (0, 1) without relevant images."""
        ends = [wilson(float(hits), float(trials)) for hits, trials in zip(*self.parts(c), strict=True)]
        return [(self.of_share(low), self.of_share(high)) for low, high in ends]


@dataclass(frozen=True, kw_only=True)
class RowMetric(Metric):
    """A mean over images.

    Attributes:
        values: Labels [n], probabilities [n, K] -> the image's values, [n].
        bounds: Number of classes -> the range of a value.
        resampled: Whether its interval is bootstrapped; otherwise it uses the formula for means of bounded values.
    """

    values: Callable[[Labels, Floats], Floats]
    bounds: Callable[[int], Interval]
    resampled: bool = False


@dataclass(frozen=True, kw_only=True)
class ConfidenceMetric(Metric):
    """A function of the confidences and of which predictions are correct; in 0..1.

    Attributes:
        value: Probabilities of the predicted classes [n], whether these are correct [n] -> its value.
        resample: Pool, seed, number of resamples -> its values, [resamples]; None if no valid interval exists.
    """

    value: Callable[[Floats, Bools], float]
    resample: Callable[[ResamplingPool, int, int], Floats] | None = None


@dataclass(frozen=True, kw_only=True)
class RankingMetric(Metric):
    """A one-vs-rest metric of each class that depends on the order of its probabilities; in 0..1.

    Attributes:
        values: Labels [n], probabilities [n, K], weights [R, n] of R resamples or None -> its values, [R, K]; NaN where
            it is undefined.
        resampled: Whether its interval is bootstrapped; otherwise it has none, since no valid one exists.
    """

    values: Callable[[Labels, Floats, Weights | None], Floats]
    resampled: bool = True
