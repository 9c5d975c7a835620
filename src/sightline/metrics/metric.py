"""Kinds of metrics: what a metric is computed from decides how its interval is found.

A metric is one function with its name, title, meaning and direction: an entry of `metric_table.METRICS`.
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
    """A number that an evaluation gives.

    Attributes:
        name: Its key in `metrics_detail.json`; with `_macro`, `_weighted` or `/class_<i>` after it where classes
            have it.
        title: Its heading in tables and reports.
        meaning: Its meaning, in a few words.
        formula: Its formula, or a remark on its definition, for the documentation.
        source: The paper that it comes from.
        higher_is_better: Its direction.
        in_percent: Whether it is shown as a percentage.
        main: Whether a first look should see it, of metrics with averages the macro average; the others say nearly
            the same.
        before_calibration: Whether it is also given for the probabilities before calibration.
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
    """A number of each class against all others, with a macro and a weighted average.

    It is a proportion, or grows with one, so that Wilson's interval holds for it.

    Attributes:
        values: Counts -> its values, [..., K], in 0..1, the more the better.
        parts: Counts of one evaluation -> hits and trials of the proportion behind it, [K] each.
        of_share: The proportion -> the number.
    """

    values: Callable[[Counts], Floats]
    parts: Callable[[Counts], tuple[Numbers, Numbers]]
    of_share: Callable[[float], float] = float
    in_percent: bool = True

    def intervals(self, c: Counts) -> list[Interval]:
        """Returns the 95 % interval of each class; (0, 1) where no image tells."""
        ends = [wilson(float(hits), float(trials)) for hits, trials in zip(*self.parts(c), strict=True)]
        return [(self.of_share(low), self.of_share(high)) for low, high in ends]


@dataclass(frozen=True, kw_only=True)
class RowMetric(Metric):
    """A mean over images.

    Attributes:
        values: Labels [n], probabilities [n, K] -> the image's values, [n].
        bounds: Number of classes -> the range of a value.
        resampled: Whether its interval is a bootstrap's; else it is the formula for means of bounded values.
    """

    values: Callable[[Labels, Floats], Floats]
    bounds: Callable[[int], Interval]
    resampled: bool = False


@dataclass(frozen=True, kw_only=True)
class ConfidenceMetric(Metric):
    """A function of confidences and of which predictions are right; in 0..1.

    Attributes:
        value: Probabilities of the predicted classes [n], whether these are right [n] -> its value.
        resample: Pool, seed, number of resamples -> its values in resamples, [resamples]; None where no interval holds.
    """

    value: Callable[[Floats, Bools], float]
    resample: Callable[[ResamplingPool, int, int], Floats] | None = None


@dataclass(frozen=True, kw_only=True)
class RankingMetric(Metric):
    """A number of each class against all others that depends on the order of its probabilities; in 0..1.

    Attributes:
        values: Labels [n], probabilities [n, K], weights [R, n] of R resamples or None -> its values, [R, K]; NaN where
            it is not defined.
        resampled: Whether its interval is a bootstrap's; else it has none, since none holds.
    """

    values: Callable[[Labels, Floats, Weights | None], Floats]
    resampled: bool = True
