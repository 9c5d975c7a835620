"""How good a model's answers are: all numbers of one evaluation.

The predicted class is the most probable one, the lowest index where several are. See `counts` for what a class that
is absent, or never named, counts as.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sightline.metrics import bootstrap, calibration, counts, ranking
from sightline.metrics.base import DIGITS, Floats, Interval, Labels, check, confusion, predictions
from sightline.metrics.intervals import wilson
from sightline.metrics.selective import risk_coverage

RESAMPLES = 1000

_PER_CLASS = {
    "precision": counts.precision,
    "recall": counts.recall,
    "f1": counts.f1,
    "specificity": counts.specificity,
}


@dataclass(frozen=True)
class ClassScore:
    """How one class fares. `support` counts its test images, `predicted` how often the model named it."""

    support: int
    predicted: int
    correct: int
    precision: float
    recall: float
    f1: float
    precision_interval: Interval
    recall_interval: Interval
    specificity: float
    specificity_interval: Interval


def class_scores(labels: Labels, predicted: Labels, num_classes: int) -> list[ClassScore]:
    """Returns each class's scores, in order of index, with Wilson intervals."""
    c = counts.Counts.of(confusion(labels, predicted, num_classes))
    precision, recall, f1, specificity = (f(c) for f in _PER_CLASS.values())
    scores = []
    for i in range(num_classes):
        support, named, correct = int(c.support[i]), int(c.named[i]), int(c.correct[i])
        others = len(labels) - support
        score = ClassScore(
            support=support,
            predicted=named,
            correct=correct,
            precision=float(precision[i]),
            recall=float(recall[i]),
            f1=float(f1[i]),
            precision_interval=wilson(correct, named),
            recall_interval=wilson(correct, support),
            specificity=float(specificity[i]),
            specificity_interval=wilson(others - (named - correct), others),
        )
        scores.append(score)
    return scores


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
        Values rounded to `DIGITS` places: `<name>` with its 95 % interval `<name>_low`, `<name>_high`. What is not
        defined (an ROC curve of one class) is left out.
    """
    check(labels, probabilities)
    order = bootstrap.canonical_order(labels, probabilities)
    labels, probabilities = labels[order], probabilities[order]
    predicted = predictions(probabilities)
    per_class = probabilities.shape[1] <= per_class_limit
    hits, n = int((labels == predicted).sum()), len(labels)
    numbers: dict[str, float] = {"images": n, "errors": n - hits, **proportion("accuracy", hits, n)}
    numbers |= _of_counts(confusion(labels, predicted, probabilities.shape[1]), per_class, seed, resamples)
    numbers |= _of_probabilities(labels, probabilities, seed, resamples)
    if uncalibrated is not None:
        before = _of_probabilities(labels, uncalibrated[order], seed, resamples)
        for name in ("log_loss", "ece"):
            numbers |= {k.replace(name, f"{name}_uncalibrated"): v for k, v in before.items() if k.startswith(name)}
    numbers |= _of_rankings(labels, probabilities, per_class, seed, resamples)
    if probabilities.shape[1] > 2:
        k = min(top_k, probabilities.shape[1] - 1)
        numbers |= proportion(f"top_{k}_accuracy", round(top_k_accuracy(labels, probabilities, k) * n), n)
    if per_class:
        for i, score in enumerate(class_scores(labels, predicted, probabilities.shape[1])):
            for name in ("precision", "recall", "specificity"):
                low, high = getattr(score, f"{name}_interval")
                numbers |= {f"{name}/class_{i}_low": low, f"{name}/class_{i}_high": high}
    return {name: round(value, DIGITS) for name, value in numbers.items()}


def proportion(name: str, hits: float, trials: int) -> dict[str, float]:
    """Returns a share with its Wilson interval."""
    low, high = wilson(hits, trials)
    return {name: hits / trials, f"{name}_low": low, f"{name}_high": high}


def with_intervals(values: Mapping[str, float], resampled: Mapping[str, Floats]) -> dict[str, float]:
    """Returns values by name, each with the interval of its resamples where it has some."""
    numbers: dict[str, float] = {}
    for name, value in values.items():
        numbers[name] = value
        if name in resampled:
            numbers[f"{name}_low"], numbers[f"{name}_high"] = bootstrap.percentile_interval(value, resampled[name])
    return numbers


def _of_counts(matrix: Labels, per_class: bool, seed: int, resamples: int) -> dict[str, float]:
    def values(c: counts.Counts) -> dict[str, Floats]:
        found = {
            "balanced_accuracy": counts.balanced_accuracy(c),
            "matthews_corrcoef": counts.matthews(c),
            "cohen_kappa": counts.kappa(c),
        }
        for name, function in _PER_CLASS.items():
            each = function(c)
            found |= {f"{name}_macro": counts.macro(each, c), f"{name}_weighted": counts.weighted(each, c)}
            if per_class:
                found |= {f"{name}/class_{i}": each[..., i] for i in range(len(c.support))}
        return found

    drawn = values(counts.resample(matrix, np.random.default_rng(seed), resamples)) if resamples else {}
    return with_intervals({k: float(v) for k, v in values(counts.Counts.of(matrix)).items()}, drawn)


def _of_probabilities(labels: Labels, probabilities: Floats, seed: int, resamples: int) -> dict[str, float]:
    rows = {"log_loss": row_log_loss(labels, probabilities), "brier": row_brier(labels, probabilities)}
    confidences, correct = probabilities.max(axis=1), predictions(probabilities) == labels
    values = {name: float(value.mean()) for name, value in rows.items()} | {
        "ece": calibration.ece(confidences, correct),
        "aurc": risk_coverage(confidences, correct).area,
    }
    if not resamples:
        return values
    drawn = bootstrap.resample_means(labels, rows, seed, resamples)
    drawn["ece"], drawn["aurc"] = bootstrap.resample_confidences(labels, confidences, correct, seed, resamples)
    return with_intervals(values, drawn)


def _of_rankings(labels: Labels, probabilities: Floats, per_class: bool, seed: int, resamples: int) -> dict[str, float]:
    support = np.bincount(labels, minlength=probabilities.shape[1])

    def values(found: tuple[Floats, Floats]) -> dict[str, Floats]:
        said: dict[str, Floats] = {}
        for name, each in zip(("roc_auc", "average_precision"), found, strict=True):
            defined = np.flatnonzero(~np.isnan(each[0]))
            if not len(defined):
                continue
            shares = support[defined] / support[defined].sum()
            said |= {f"{name}_macro": each[:, defined].mean(axis=1), f"{name}_weighted": each[:, defined] @ shares}
            if per_class:
                said |= {f"{name}/class_{i}": each[:, i] for i in defined}
        return said

    drawn = values(bootstrap.resample_rankings(labels, probabilities, seed, resamples)) if resamples else {}
    exact = values(ranking.one_vs_rest(labels, probabilities))
    return with_intervals({name: float(value[0]) for name, value in exact.items()}, drawn)
