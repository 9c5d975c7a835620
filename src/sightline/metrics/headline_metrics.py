"""Headline metrics: the few metrics for comparing runs in MLflow's table and `dvc metrics show`.

A table of all metrics would be unreadable: ten classes have 270 of them. The names are short, so that
`dvc metrics show` stays within 120 columns.
"""

from __future__ import annotations

from collections.abc import Mapping

NAMES = {
    "accuracy": "accuracy",
    "acc_low": "accuracy_low",
    "acc_high": "accuracy_high",
    "bal_acc": "balanced_accuracy",
    "log_loss": "log_loss",
    "ece": "ece",
    "mce": "mean_corruption_error",
    "worst": "worst_slice_accuracy",
}
"""Headline names, and the full names of the same metrics."""
PLACES = 4
"""Decimal places in the file that `dvc metrics show` reads, for the same reason."""


def headline(numbers: Mapping[str, float]) -> dict[str, float]:
    """Selects the headline from all metrics of an evaluation; metrics that were not measured are omitted.

    >>> headline({"accuracy": 0.91, "accuracy_low": 0.9, "recall/class_0": 1.0})
    {'accuracy': 0.91, 'acc_low': 0.9}
    """
    return {short: numbers[name] for short, name in NAMES.items() if name in numbers}


def sentence(numbers: Mapping[str, float], images: str) -> str:
    """Returns the headline in words.

    Args:
        numbers: Metrics by headline name.
        images: Description of the scored images: "335 test images".

    >>> sentence({"accuracy": 0.9123, "acc_low": 0.9, "acc_high": 0.93, "ece": 0.01}, "335 test images")
    'Accuracy 0.9123 (95 % interval 0.9000 to 0.9300) on 335 test images; calibration error 0.0100.'
    """
    lead = f"Accuracy {numbers['accuracy']:.4f}"
    if {"acc_low", "acc_high"} <= numbers.keys():
        lead += f" (95 % interval {numbers['acc_low']:.4f} to {numbers['acc_high']:.4f})"
    more = [f"{title} {numbers[name]:.4f}" for name, title in _TITLES.items() if name in numbers]
    return "; ".join([f"{lead} on {images}", *more]) + "."


_TITLES = {
    "bal_acc": "balanced accuracy",
    "log_loss": "log loss",
    "ece": "calibration error",
    "mce": "mean corruption error",
    "worst": "accuracy on the worst slice",
}
