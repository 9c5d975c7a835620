"""How good a model's answers are: all numbers of one evaluation.

The predicted class is the most probable one, the lowest index where several are. See `counts` for what a class that
is absent, or never named, counts as.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from sightline.metrics import bootstrap, calibration, counts, per_class, ranking
from sightline.metrics.base import DIGITS, Floats, Interval, Labels, confusion, predicted_classes, require_probabilities
from sightline.metrics.intervals import mean, wilson, within
from sightline.metrics.per_class import PER_CLASS, ClassScore
from sightline.metrics.selective import risk_coverage

RESAMPLES = 1000

LARGEST_LOSS = -float(np.log(np.finfo(np.float64).eps))
"""Log loss of an image whose true class got probability 0, which is clipped."""

_SIGNED = ("matthews_corrcoef", "cohen_kappa")
"""Numbers that may be below 0."""


def class_scores(labels: Labels, predicted: Labels, num_classes: int) -> list[ClassScore]:
    """Returns each class's scores, in order of index."""
    return per_class.scores(counts.Counts.of(confusion(labels, predicted, num_classes)))


def row_log_loss(labels: Labels, probabilities: Floats) -> Floats:
    """Returns -ln(probability of the true class), [n]; clipped to [eps, 1 - eps] as scikit-learn does."""
    eps = float(np.finfo(np.float64).eps)
    of_true = probabilities[np.arange(len(labels)), labels].clip(eps, 1 - eps)
    losses: Floats = -np.log(of_true)
    return losses


def log_loss(labels: Labels, probabilities: Floats) -> float:
    """Returns the mean of `row_log_loss`."""
    return float(row_log_loss(labels, probabilities).mean())


def row_brier(labels: Labels, probabilities: Floats) -> Floats:
    """Returns the squared distance of each row from the truth, [n]: 0..2, or 0..1 for two classes.

    Brier (1950), "Verification of forecasts expressed in terms of probability"; of two classes one is looked at, as is
    the custom (scikit-learn's `scale_by_half="auto"`).
    """
    of_true = probabilities[np.arange(len(labels)), labels]
    squares: Floats = (probabilities**2).sum(axis=1) - of_true**2 + (1 - of_true) ** 2
    return squares / 2 if probabilities.shape[1] == 2 else squares


def top_k_accuracy(labels: Labels, probabilities: Floats, k: int) -> float:
    """Returns the share of rows whose true class is among the `k` most probable.

    Equal probabilities rank by index, as in `predictions`, so that top-k accuracy is never below accuracy.
    """
    of_true = probabilities[np.arange(len(labels)), labels][:, None]
    earlier = np.arange(probabilities.shape[1]) < labels[:, None]
    rank = ((probabilities > of_true) | ((probabilities == of_true) & earlier)).sum(axis=1)
    return float((rank < k).mean())


def evaluate(
    labels: Labels,
    probabilities: Floats,
    top_k: int = 5,
    per_class_limit: int = 20,
    *,
    uncalibrated: Floats | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, float]:
    """Returns all numbers as one flat mapping whose keys DVC and MLflow both accept as names of metrics.

    Args:
        labels: [n] true classes, n >= 1.
        probabilities: [n, K], rows sum to 1.
        top_k: For `top_<k>_accuracy`, capped at K - 1 (beyond, it is 1 by definition); left out for two classes.
        per_class_limit: Up to this many classes `precision/class_<i>` and so on are among the numbers.
        uncalibrated: [n, K] the probabilities before calibration, for `log_loss_uncalibrated`, `ece_uncalibrated`.
        seed: Of the bootstrap's draws.
        resamples: Of the bootstrap; 0 leaves out its intervals.

    Returns:
        Values rounded to `DIGITS` places: `<name>` with its 95 % interval `<name>_low`, `<name>_high` where it has
        one that holds. What is not defined (an ROC curve of one class) is left out.
    """
    require_probabilities(labels, probabilities)
    order = bootstrap.canonical_order(labels, probabilities)
    labels, probabilities = labels[order], probabilities[order]
    predicted = predicted_classes(probabilities)
    single = probabilities.shape[1] <= per_class_limit
    hits, n = int((labels == predicted).sum()), len(labels)
    numbers: dict[str, float] = {"images": n, "errors": n - hits, **proportion("accuracy", hits, n)}
    numbers |= _of_counts(confusion(labels, predicted, probabilities.shape[1]), single, seed, resamples)
    numbers |= _of_probabilities(labels, probabilities, seed, resamples)
    if uncalibrated is not None:
        before = _of_probabilities(labels, uncalibrated[order], seed, resamples)
        for name in ("log_loss", "ece"):
            numbers |= {k.replace(name, f"{name}_uncalibrated"): v for k, v in before.items() if k.startswith(name)}
    numbers |= _of_rankings(labels, probabilities, single, seed, resamples)
    if probabilities.shape[1] > 2:
        k = min(top_k, probabilities.shape[1] - 1)
        numbers |= proportion(f"top_{k}_accuracy", round(top_k_accuracy(labels, probabilities, k) * n), n)
    return {name: round(value, DIGITS) for name, value in numbers.items()}


def proportion(name: str, hits: float, trials: int) -> dict[str, float]:
    """Returns a share with its Wilson interval."""
    low, high = wilson(hits, trials)
    return {name: hits / trials, f"{name}_low": low, f"{name}_high": high}


def with_intervals(values: Mapping[str, float], intervals: Mapping[str, Interval]) -> dict[str, float]:
    """Returns values by name, each with its interval where it has one."""
    numbers: dict[str, float] = {}
    for name, value in values.items():
        numbers[name] = value
        if name in intervals:
            numbers[f"{name}_low"], numbers[f"{name}_high"] = intervals[name]
    return numbers


def _of_counts(matrix: Labels, single: bool, seed: int, resamples: int) -> dict[str, float]:
    def values(c: counts.Counts) -> dict[str, Floats]:
        found = {
            "balanced_accuracy": counts.balanced_accuracy(c),
            "matthews_corrcoef": counts.matthews(c),
            "cohen_kappa": counts.kappa(c),
        }
        for name, each in PER_CLASS.items():
            of_classes = each.values(c)
            found[f"{name}_macro"] = counts.macro(of_classes, c)
            found[f"{name}_weighted"] = counts.weighted(of_classes, c)
        return found

    exact = {name: float(value) for name, value in values(counts.Counts.of(matrix)).items()}
    numbers = with_intervals(exact, _smoothed(matrix, values, exact, seed, resamples) if resamples else {})
    for i, score in enumerate(per_class.scores(counts.Counts.of(matrix)) if single else ()):
        of_class = {name: (f"{name}/class_{i}", ends) for name, ends in score.intervals.items()}
        told = {f"{name}/class_{i}": value for name, value in score.values.items()}
        numbers |= with_intervals(told, dict(of_class.values()))
    return numbers


def _smoothed(
    matrix: Labels,
    values: Callable[[counts.Counts], dict[str, Floats]],
    exact: Mapping[str, float],
    seed: int,
    resamples: int,
) -> dict[str, Interval]:
    """Returns the intervals of functions of counts: around their values for smoothed counts, as wide as resamples."""
    rng, support = np.random.default_rng(seed), matrix.sum(axis=1)
    shares = counts.smoothed(matrix)
    centre = values(counts.Counts.expected(support, shares[0]))
    drawn = [values(counts.resample(support, each, rng, resamples)) for each in shares]
    return {
        name: within(
            value,
            float(centre[name]),
            max(float(each[name].std()) for each in drawn),
            (-1.0 if name in _SIGNED else 0.0, 1.0),
        )
        for name, value in exact.items()
    }


def _of_probabilities(labels: Labels, probabilities: Floats, seed: int, resamples: int) -> dict[str, float]:
    briers = row_brier(labels, probabilities)
    confidences, correct = probabilities.max(axis=1), predicted_classes(probabilities) == labels
    values = {
        "log_loss": log_loss(labels, probabilities),
        "brier": float(briers.mean()),
        "ece": calibration.ece(confidences, correct),
        "aurc": risk_coverage(confidences, correct).area,
    }
    if not resamples:
        return values
    pool = bootstrap.ResamplingPool.of(labels, probabilities, seed)
    losses = {"log_loss": row_log_loss(pool.all_labels, pool.probabilities)}
    drawn = bootstrap.resample_means(pool, losses, seed, resamples)
    drawn["aurc"] = bootstrap.resample_areas(pool, seed, resamples)
    bounds = {"log_loss": (0.0, LARGEST_LOSS), "aurc": (0.0, 1.0)}
    ends = {name: bootstrap.interval(values[name], drawn[name], bounds[name]) for name in bounds}
    # The calibration error has none: it is the larger the fewer the images, whatever the model.
    return with_intervals(values, {**ends, "brier": mean(briers, (0.0, 1.0 if probabilities.shape[1] == 2 else 2.0))})


def _of_rankings(labels: Labels, probabilities: Floats, single: bool, seed: int, resamples: int) -> dict[str, float]:
    support = np.bincount(labels, minlength=probabilities.shape[1])

    def values(name: str, each: Floats) -> dict[str, Floats]:
        defined = np.flatnonzero(~np.isnan(each[0]))
        if not len(defined):
            return {}
        shares = support[defined] / support[defined].sum()
        said = {f"{name}_macro": each[:, defined].mean(axis=1), f"{name}_weighted": each[:, defined] @ shares}
        return said | ({f"{name}/class_{i}": each[:, i] for i in defined} if single else {})

    areas, average_precisions = ranking.one_vs_rest(labels, probabilities)
    exact = {**values("roc_auc", areas), **values("average_precision", average_precisions)}
    numbers = {name: float(value[0]) for name, value in exact.items()}
    if not resamples:
        return numbers
    pool = bootstrap.ResamplingPool.of(labels, probabilities, seed)
    drawn = values("roc_auc", bootstrap.resample_rankings(pool, seed, resamples))
    # Average precision has none: with few images of a class it is too high, and so is its every resample.
    ends = {name: bootstrap.interval(numbers[name], each, (0.0, 1.0)) for name, each in drawn.items()}
    return with_intervals(numbers, ends)
