"""The metrics as a table for a person: name, value, interval, meaning."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from sightline.metrics.per_class import PER_CLASS
from sightline.reporting.formatting import PERCENT, percent


@dataclass(frozen=True)
class Metric:
    """How a number of `metrics.json` is told; `sign` is 1 where more is better, -1 where less is."""

    title: str
    meaning: str
    in_percent: bool = True
    sign: int = 1

    def shown(self, value: float) -> str:
        """Returns a value as text."""
        return percent(value) if self.in_percent else f"{value:.4f}"


METRICS = {
    "accuracy": Metric("Accuracy", "share of test images answered right"),
    "balanced_accuracy": Metric("Balanced accuracy", "mean recall of the classes that have test images"),
    **{
        f"{name}_macro": Metric(f"{number.title}, macro", f"{number.meaning}; mean over classes")
        for name, number in PER_CLASS.items()
    },
    **{
        f"{name}_weighted": Metric(f"{number.title}, weighted", "mean over classes by number of test images")
        for name, number in PER_CLASS.items()
    },
    "matthews_corrcoef": Metric("Matthews correlation", "1 is perfect, 0 no better than chance", False),
    "cohen_kappa": Metric("Cohen's kappa", "agreement with the labels beyond chance; 1 is perfect", False),
    "roc_auc_macro": Metric("Area under ROC, macro", "one class against the rest; 1 is perfect, 0.5 chance", False),
    "average_precision_macro": Metric("Average precision, macro", "area under precision by recall", False),
    "log_loss": Metric("Log loss", "mean negative log-probability of the true class; 0 is perfect", False, -1),
    "brier": Metric("Brier score", "squared distance of the probabilities from the truth; 0 is perfect", False, -1),
    "ece": Metric("Calibration error", "mean distance of confidence and accuracy (ECE); 0 is perfect", True, -1),
    "aurc": Metric("Area under risk-coverage", "mean share of errors over all coverages; 0 is perfect", False, -1),
}

MAIN = ("accuracy", "balanced_accuracy", "f1_macro", "matthews_corrcoef", "roc_auc_macro", "log_loss", "ece", "aurc")
"""The metrics that a first look should see; the others say nearly the same."""


def known(names: Mapping[str, float]) -> dict[str, Metric]:
    """Returns those of `names` that can be told, in the order of the table, top-k accuracy included."""
    found = {name: metric for name, metric in METRICS.items() if name in names}
    for name in names:
        if match := re.fullmatch(r"top_(\d+)_accuracy", name):
            found[name] = Metric(f"Top-{match[1]} accuracy", f"the true class is among the {match[1]} most probable")
    return found


@dataclass(frozen=True)
class Told:
    """One row of a table: the metric, its value and its 95 % interval as text, whether it is one of the main ones."""

    metric: Metric
    value: str
    interval: str
    main: bool


def rows(numbers: Mapping[str, float]) -> list[Told]:
    """Returns what a table of metrics shows."""
    return [
        Told(
            metric,
            metric.shown(numbers[name]),
            interval(metric, numbers.get(f"{name}_low"), numbers.get(f"{name}_high")),
            name in MAIN or name.startswith("top_"),
        )
        for name, metric in known(numbers).items()
    ]


def interval(metric: Metric, low: float | None, high: float | None) -> str:
    """Returns an interval as text; nothing where there is none."""
    if low is None or high is None:
        return ""
    return f"{metric.shown(low).removesuffix(PERCENT)} to {metric.shown(high)}"
