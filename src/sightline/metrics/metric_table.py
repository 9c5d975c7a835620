"""The table of metrics. Each entry defines a metric's values, intervals, columns, title and documentation."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import TypeVar

from sightline.metrics import bootstrap, calibration, counts, probability_scores, ranking, selective
from sightline.metrics.base import predicted_classes
from sightline.metrics.metric import (
    ConfidenceMetric,
    CountMetric,
    HitMetric,
    Metric,
    PerClassMetric,
    RankingMetric,
    RowMetric,
)

M = TypeVar("M", bound=Metric)

_ENTRIES: Sequence[Metric] = (
    HitMetric(
        name="accuracy",
        title="Accuracy",
        meaning="fraction of test images classified correctly",
        hits=lambda labels, probabilities: predicted_classes(probabilities) == labels,
        main=True,
    ),
    CountMetric(
        name="balanced_accuracy",
        title="Balanced accuracy",
        meaning="mean recall of the classes that have test images",
        value=counts.balanced_accuracy,
        in_percent=True,
        main=True,
    ),
    PerClassMetric(
        name="precision",
        title="Precision",
        meaning="fraction of the images predicted as a class that belong to it",
        formula="TP / (TP + FP), 0 if none",
        values=counts.precision,
        parts=lambda c: (c.correct, c.predicted),
    ),
    PerClassMetric(
        name="recall",
        title="Recall",
        meaning="fraction of a class's images that are predicted as it",
        formula="TP / (TP + FN)",
        values=counts.recall,
        parts=lambda c: (c.correct, c.support),
    ),
    PerClassMetric(
        name="f1",
        title="F1",
        meaning="harmonic mean of precision and recall",
        formula="2 TP / (2 TP + FP + FN)",
        values=counts.f1,
        # Its interval is derived from that of Jaccard's index J, the fraction of correct ones among the images that are
        # of the class or predicted as it: F1 = 2J / (1 + J), which grows with J.
        parts=lambda c: (c.correct, c.predicted + c.support - c.correct),
        of_share=lambda jaccard: 2 * jaccard / (1 + jaccard),
        main=True,
    ),
    PerClassMetric(
        name="specificity",
        title="Specificity",
        meaning="fraction of the other classes' images that are not predicted as it",
        formula="TN / (TN + FP)",
        values=counts.specificity,
        parts=lambda c: (c.images - c.support - (c.predicted - c.correct), c.images - c.support),
    ),
    CountMetric(
        name="matthews_corrcoef",
        title="Matthews correlation",
        meaning="correlation of labels and predictions; 1 is perfect, 0 no better than chance",
        source="Gorodkin 2004",
        value=counts.matthews,
        bounds=(-1.0, 1.0),
        main=True,
    ),
    CountMetric(
        name="cohen_kappa",
        title="Cohen's kappa",
        meaning="agreement with the labels beyond chance; 1 is perfect",
        source="Cohen 1960",
        value=counts.kappa,
        bounds=(-1.0, 1.0),
    ),
    RankingMetric(
        name="roc_auc",
        title="Area under ROC",
        meaning="one class against the rest; 1 is perfect, 0.5 chance",
        values=ranking.roc_auc,
        main=True,
    ),
    RankingMetric(
        name="average_precision",
        title="Average precision",
        meaning="area under the precision-recall curve",
        formula="without interpolation",
        values=ranking.average_precision,
        resampled=False,  # with few images of a class it is biased upwards, as are its resamples
    ),
    RowMetric(
        name="log_loss",
        title="Log loss",
        meaning="mean negative log-probability of the true class; 0 is perfect",
        formula="clipped at 2.2e-16",
        values=probability_scores.row_log_loss,
        bounds=lambda _: (0.0, probability_scores.LARGEST_LOSS),
        resampled=True,
        higher_is_better=False,
        before_calibration=True,
        main=True,
    ),
    RowMetric(
        name="brier",
        title="Brier score",
        meaning="squared distance of the probabilities from the truth; 0 is perfect",
        formula="0 to 2; halved for two classes, as scikit-learn does",
        source="Brier 1950",
        values=probability_scores.row_brier,
        bounds=lambda num_classes: (0.0, 1.0 if num_classes == 2 else 2.0),
        higher_is_better=False,
    ),
    ConfidenceMetric(
        name="ece",
        title="Calibration error",
        meaning="mean difference between confidence and accuracy (ECE); 0 is perfect",
        source="Guo et al. 2017",
        value=calibration.ece,
        # No interval: for any model, the fewer the images, the larger it is.
        higher_is_better=False,
        in_percent=True,
        before_calibration=True,
        main=True,
    ),
    ConfidenceMetric(
        name="aurc",
        title="Area under risk-coverage",
        meaning="mean error rate over all coverages; 0 is perfect",
        source="Geifman and El-Yaniv 2017",
        value=lambda confidences, correct: selective.risk_coverage(confidences, correct).area,
        resample=bootstrap.resample_areas,
        higher_is_better=False,
        main=True,
    ),
)

METRICS: dict[str, Metric] = {metric.name: metric for metric in _ENTRIES}
"""All metrics by name, in the order of tables; for top-k accuracy, which depends on k, see `top_k_metric`."""


def of_kind(kind: type[M]) -> dict[str, M]:
    """Returns the metrics of one kind by name."""
    return {name: metric for name, metric in METRICS.items() if isinstance(metric, kind)}


def top_k_metric(k: int) -> HitMetric:
    """Returns the metric `top_<k>_accuracy`."""
    return HitMetric(
        name=f"top_{k}_accuracy",
        title=f"Top-{k} accuracy",
        meaning=f"the true class is among the {k} most probable",
        hits=functools.partial(probability_scores.among_top_k, k=k),
        main=True,
    )


def top_k_named(name: str) -> HitMetric | None:
    """Returns the metric of a name such as `top_5_accuracy`; None for other names."""
    match = re.fullmatch(r"top_(\d+)_accuracy", name)
    return top_k_metric(int(match[1])) if match else None
