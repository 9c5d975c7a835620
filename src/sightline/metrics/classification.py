"""Classification metrics: all metrics of an evaluation, computed from labels and probabilities.

The predicted class is the most probable one, with the lowest index on ties. See `counts` for the conventions for
classes that are absent or never predicted, and `metric_table.METRICS` for the list of metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from sightline.metrics import bootstrap, counts, per_class
from sightline.metrics.base import (
    DIGITS,
    Bools,
    Floats,
    Interval,
    Labels,
    confusion,
    predicted_classes,
    require_probabilities,
)
from sightline.metrics.intervals import mean, wilson, within
from sightline.metrics.metric import (
    ConfidenceMetric,
    CountMetric,
    HitMetric,
    PerClassMetric,
    RankingMetric,
    RowMetric,
)
from sightline.metrics.metric_table import METRICS, of_kind, top_k_metric
from sightline.metrics.per_class import ClassScore

RESAMPLES = 1000

_ENDS = ("", "_low", "_high")


def class_scores(labels: Labels, predicted: Labels, num_classes: int) -> list[ClassScore]:
    """Returns each class's scores, in order of index."""
    return per_class.scores(counts.Counts.of(confusion(labels, predicted, num_classes)))


def classification_metrics(
    labels: Labels,
    probabilities: Floats,
    top_k: int = 5,
    per_class_limit: int = 20,
    *,
    uncalibrated: Floats | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, float]:
    """Returns all metrics as a flat mapping whose keys are valid metric names in both DVC and MLflow.

    Args:
        labels: [n] true classes, n >= 1.
        probabilities: [n, K], rows sum to 1.
        top_k: For `top_<k>_accuracy`, capped at K - 1 (beyond, it is 1 by definition); omitted for two classes.
        per_class_limit: Maximum number of classes for which `precision/class_<i>` and so on are included.
        uncalibrated: [n, K] the probabilities before calibration, for `log_loss_uncalibrated`, `ece_uncalibrated`.
        seed: Seed of the bootstrap.
        resamples: Number of bootstrap resamples; 0 omits their intervals.

    Returns:
        Values rounded to `DIGITS` places: `<name>` and, if there is a valid one, its 95 % interval `<name>_low`,
        `<name>_high`. Undefined metrics (such as the ROC curve of a single class) are omitted.
    """
    require_probabilities(labels, probabilities)
    order = bootstrap.canonical_order(labels, probabilities)
    labels, probabilities = labels[order], probabilities[order]
    predicted = predicted_classes(probabilities)
    single = probabilities.shape[1] <= per_class_limit
    n = len(labels)
    numbers: dict[str, float] = {"images": n, "errors": n - int((labels == predicted).sum())}
    for metric in of_kind(HitMetric).values():
        numbers |= hit_fraction(metric.name, metric.hits(labels, probabilities))
    numbers |= _of_counts(confusion(labels, predicted, probabilities.shape[1]), single, seed, resamples)
    numbers |= _of_probabilities(labels, probabilities, seed, resamples)
    if uncalibrated is not None:
        before = _of_probabilities(labels, uncalibrated[order], seed, resamples)
        for name in (name for name, metric in METRICS.items() if metric.before_calibration):
            numbers |= {f"{name}_uncalibrated{end}": before[name + end] for end in _ENDS if name + end in before}
    numbers |= _of_rankings(labels, probabilities, single, seed, resamples)
    if probabilities.shape[1] > 2:
        metric = top_k_metric(min(top_k, probabilities.shape[1] - 1))
        numbers |= hit_fraction(metric.name, metric.hits(labels, probabilities))
    return {name: round(value, DIGITS) for name, value in numbers.items()}


def proportion(name: str, hits: float, trials: int) -> dict[str, float]:
    """Returns a fraction with its Wilson interval."""
    low, high = wilson(hits, trials)
    return {name: hits / trials, f"{name}_low": low, f"{name}_high": high}


def hit_fraction(name: str, hits: Bools) -> dict[str, float]:
    """Returns the fraction of hits [n] with its Wilson interval."""
    return proportion(name, int(hits.sum()), len(hits))


def with_intervals(values: Mapping[str, float], intervals: Mapping[str, Interval]) -> dict[str, float]:
    """Returns values by name, with their intervals where there are any."""
    numbers: dict[str, float] = {}
    for name, value in values.items():
        numbers[name] = value
        if name in intervals:
            numbers[f"{name}_low"], numbers[f"{name}_high"] = intervals[name]
    return numbers


def _of_counts(matrix: Labels, single: bool, seed: int, resamples: int) -> dict[str, float]:
    """Returns the metrics based on the confusion matrix: overall, averaged over classes, and per class."""
    bounds = {metric.name: metric.bounds for metric in of_kind(CountMetric).values()}

    def values(c: counts.Counts) -> dict[str, Floats]:
        numbers = {name: metric.value(c) for name, metric in of_kind(CountMetric).items()}
        for name, metric in of_kind(PerClassMetric).items():
            of_classes = metric.values(c)
            numbers[f"{name}_macro"] = counts.macro(of_classes, c)
            numbers[f"{name}_weighted"] = counts.weighted(of_classes, c)
        return numbers

    exact = {name: float(value) for name, value in values(counts.Counts.of(matrix)).items()}
    numbers = with_intervals(exact, _smoothed(matrix, values, exact, bounds, seed, resamples) if resamples else {})
    for i, score in enumerate(per_class.scores(counts.Counts.of(matrix)) if single else ()):
        of_class = {f"{name}/class_{i}": value for name, value in score.values.items()}
        numbers |= with_intervals(of_class, {f"{name}/class_{i}": ends for name, ends in score.intervals.items()})
    return numbers


def _smoothed(
    matrix: Labels,
    values: Callable[[counts.Counts], dict[str, Floats]],
    exact: Mapping[str, float],
    bounds: Mapping[str, Interval],
    seed: int,
    resamples: int,
) -> dict[str, Interval]:
    """Returns the intervals of count metrics, centred at smoothed counts, with the spread of resamples."""
    rng, support = np.random.default_rng(seed), matrix.sum(axis=1)
    shares = counts.smoothed(matrix)
    centre = values(counts.Counts.expected(support, shares[0]))
    drawn = [values(counts.resample(support, each, rng, resamples)) for each in shares]
    return {
        name: within(
            value,
            float(centre[name]),
            max(float(each[name].std()) for each in drawn),
            bounds.get(name, (0.0, 1.0)),
        )
        for name, value in exact.items()
    }


def _of_probabilities(labels: Labels, probabilities: Floats, seed: int, resamples: int) -> dict[str, float]:
    """Returns metrics that are means over images, and those that are functions of the confidences."""
    confidences, correct = probabilities.max(axis=1), predicted_classes(probabilities) == labels
    row_metrics, confidence_metrics = of_kind(RowMetric), of_kind(ConfidenceMetric)
    rows = {name: metric.values(labels, probabilities) for name, metric in row_metrics.items()}
    values = {name: float(value.mean()) for name, value in rows.items()}
    values |= {name: metric.value(confidences, correct) for name, metric in confidence_metrics.items()}
    if not resamples:
        return values
    pool = bootstrap.ResamplingPool.of(labels, probabilities, seed)
    bounds = {name: metric.bounds(probabilities.shape[1]) for name, metric in row_metrics.items()}
    of_pool = {n: m.values(pool.all_labels, pool.probabilities) for n, m in row_metrics.items() if m.resampled}
    drawn = bootstrap.resample_means(pool, of_pool, seed, resamples)
    for name, metric in confidence_metrics.items():
        if metric.resample is not None:
            drawn[name] = metric.resample(pool, seed, resamples)
    intervals = {n: bootstrap.interval(values[n], each, bounds.get(n, (0.0, 1.0))) for n, each in drawn.items()}
    intervals |= {n: mean(rows[n], bounds[n]) for n, metric in row_metrics.items() if not metric.resampled}
    return with_intervals(values, intervals)


def _of_rankings(labels: Labels, probabilities: Floats, single: bool, seed: int, resamples: int) -> dict[str, float]:
    """Returns the ranking metrics, averaged over classes and per class."""
    support = np.bincount(labels, minlength=probabilities.shape[1])

    def values(name: str, each: Floats) -> dict[str, Floats]:
        defined = np.flatnonzero(~np.isnan(each[0]))
        if not len(defined):
            return {}
        shares = support[defined] / support[defined].sum()
        averages = {f"{name}_macro": each[:, defined].mean(axis=1), f"{name}_weighted": each[:, defined] @ shares}
        return averages | ({f"{name}/class_{i}": each[:, i] for i in defined} if single else {})

    metrics = of_kind(RankingMetric)
    numbers: dict[str, float] = {}
    for name, metric in metrics.items():
        exact = values(name, metric.values(labels, probabilities, None))
        numbers |= {key: float(value[0]) for key, value in exact.items()}
    if not resamples:
        return numbers
    pool = bootstrap.ResamplingPool.of(labels, probabilities, seed)
    intervals: dict[str, Interval] = {}
    for name, metric in metrics.items():
        if metric.resampled:
            drawn = values(name, bootstrap.resample_rankings(pool, metric.values, seed, resamples))
            intervals |= {key: bootstrap.interval(numbers[key], each, (0.0, 1.0)) for key, each in drawn.items()}
    return with_intervals(numbers, intervals)
