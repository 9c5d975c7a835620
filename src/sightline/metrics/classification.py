"""How good the answers are.

Conventions, the same everywhere: the predicted class is the most probable one, the lowest index where several are; a
quotient with denominator 0 (the precision of a class never predicted, the recall of one without test images) counts
as 0. A macro average is taken over the classes that occur among labels or predictions, as scikit-learn does by
default: a class that the test split lacks and the model never names says nothing about the model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import precision_recall_fscore_support, top_k_accuracy_score

from sightline.metrics.base import DIGITS, Floats, Interval, Labels, check, predictions
from sightline.metrics.intervals import wilson


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
