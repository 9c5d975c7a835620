"""The numbers: pure functions of labels and probabilities.

Conventions, the same everywhere: the predicted class is the most probable one, the lowest index where several are; a
quotient with denominator 0 (the precision of a class never predicted, the recall of one without test images) counts
as 0. A macro average is taken over the classes that occur among labels or predictions, as scikit-learn does by
default: a class that the test split lacks and the model never names says nothing about the model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support, top_k_accuracy_score

DIGITS = 6
"""Decimal places of what is written: more than any test set resolves, few enough to be stable in text."""

Labels = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Interval = tuple[float, float]


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


def check(labels: Labels, probabilities: Floats) -> None:
    """Refuses what no classifier may return.

    Raises:
        ValueError: If shapes disagree, a label is no class, or a row is not a probability distribution.
    """
    if probabilities.ndim != 2 or len(labels) != len(probabilities):
        raise ValueError(f"{len(labels)} labels need [{len(labels)}, K] probabilities, not {probabilities.shape}")
    if len(labels) == 0:
        raise ValueError("there is nothing to score")
    if labels.min() < 0 or labels.max() >= probabilities.shape[1]:
        raise ValueError(f"labels must be in [0, {probabilities.shape[1]}), not {labels.min()} to {labels.max()}")
    # 1e-3: softmax in bfloat16 is this coarse. The comparison is also false for NaN.
    if not (np.abs(probabilities.sum(axis=1) - 1) < 1e-3).all() or (probabilities < 0).any():
        raise ValueError("probabilities must be at least 0 and sum to 1 in each row")


def predictions(probabilities: Floats) -> Labels:
    """Returns the most probable class of each row, [n] int64; the lowest index where several are."""
    most_probable: Labels = probabilities.argmax(axis=1).astype(np.int64)
    return most_probable


def confusion(labels: Labels, predicted: Labels, num_classes: int) -> Labels:
    """Returns counts [num_classes, num_classes]: rows are true classes, columns predicted ones."""
    counts: Labels = confusion_matrix(labels, predicted, labels=range(num_classes))
    return counts


def wilson(hits: int, trials: int) -> Interval:
    """Returns the 95 % Wilson score interval of a proportion; (0, 1) without trials.

    Wilson (1927), "Probable inference, the law of succession, and statistical inference". Unlike the textbook
    `p ± 1.96·sqrt(p(1-p)/n)` it is sound for few trials and for proportions near 0 or 1.

    >>> [round(bound, 4) for bound in wilson(9, 10)]
    [0.5958, 0.9821]
    """
    if trials == 0:
        return 0.0, 1.0
    z = 1.959963984540054  # the normal distribution's 97.5 % quantile
    p, spread = hits / trials, z * z / trials
    centre = (p + spread / 2) / (1 + spread)
    half = z * math.sqrt(p * (1 - p) / trials + spread / (4 * trials)) / (1 + spread)
    # At the ends the formula gives exactly 0 and 1, but for rounding.
    return (0.0 if hits == 0 else centre - half), (1.0 if hits == trials else centre + half)


def class_scores(labels: Labels, predicted: Labels, num_classes: int) -> list[ClassScore]:
    """Returns each class's scores, in order of index."""
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predicted, labels=range(num_classes), zero_division=0.0
    )
    named = np.bincount(predicted, minlength=num_classes)
    correct = np.bincount(labels[labels == predicted], minlength=num_classes)
    return [
        ClassScore(
            support=int(support[i]),
            predicted=int(named[i]),
            correct=int(correct[i]),
            precision=float(precision[i]),
            recall=float(recall[i]),
            f1=float(f1[i]),
            precision_interval=wilson(int(correct[i]), int(named[i])),
            recall_interval=wilson(int(correct[i]), int(support[i])),
        )
        for i in range(num_classes)
    ]


def log_loss(labels: Labels, probabilities: Floats) -> float:
    """Returns the mean of -ln(probability of the true class), each clipped to [eps, 1 - eps] as scikit-learn does.

    Stands here because scikit-learn's refuses a single class.
    """
    eps = float(np.finfo(np.float64).eps)
    of_true = probabilities[np.arange(len(labels)), labels].clip(eps, 1 - eps)
    return float(-np.log(of_true).mean())


def top_k_accuracy(labels: Labels, probabilities: Floats, k: int) -> float:
    """Returns the share of rows whose true class is among the `k` most probable, for more than two classes.

    Equal probabilities rank by index, as in `predictions`, so that top-k accuracy is never below accuracy.
    (scikit-learn ranks them by descending index; mirroring the classes turns that round.)
    """
    last = probabilities.shape[1] - 1
    return float(top_k_accuracy_score(last - labels, probabilities[:, ::-1], k=k, labels=range(last + 1)))


def evaluate(labels: Labels, probabilities: Floats, top_k: int = 5, per_class_limit: int = 20) -> dict[str, float]:
    """Returns all numbers as one flat mapping whose keys DVC and MLflow both accept as names of metrics.

    Args:
        labels: [n] true classes, n >= 1.
        probabilities: [n, K], rows sum to 1.
        top_k: For `top_<k>_accuracy`, capped at K - 1 (beyond, it is 1 by definition); left out for two classes.
        per_class_limit: Up to this many classes `precision/class_<i>` and so on are among the numbers.

    Returns:
        Values rounded to `DIGITS` places.
    """
    check(labels, probabilities)
    num_classes = probabilities.shape[1]
    predicted = predictions(probabilities)
    classes = class_scores(labels, predicted, num_classes)
    present = [c for c in classes if c.support]
    hits, n = int((labels == predicted).sum()), len(labels)
    numbers: dict[str, float] = {
        "images": n,
        "errors": n - hits,
        **_proportion("accuracy", hits, n),
        "balanced_accuracy": float(np.mean([c.recall for c in present])),
        "log_loss": log_loss(labels, probabilities),
    }
    for average in ("macro", "weighted"):
        values = precision_recall_fscore_support(labels, predicted, average=average, zero_division=0.0)
        for name, value in zip(("precision", "recall", "f1"), values, strict=False):  # the fourth is None
            numbers[f"{name}_{average}"] = float(value)
    if num_classes > 2:
        k = min(top_k, num_classes - 1)
        numbers |= _proportion(f"top_{k}_accuracy", round(top_k_accuracy(labels, probabilities, k) * n), n)
    if num_classes <= per_class_limit:
        for i, score in enumerate(classes):
            numbers |= {f"{name}/class_{i}": getattr(score, name) for name in ("precision", "recall", "f1")}
    return {name: round(value, DIGITS) for name, value in numbers.items()}


def _proportion(name: str, hits: int, trials: int) -> dict[str, float]:
    low, high = wilson(hits, trials)
    return {name: hits / trials, f"{name}_low": low, f"{name}_high": high}
