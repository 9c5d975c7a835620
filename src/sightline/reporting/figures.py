"""Figures of the pages by name, each in a light and a dark theme."""

from __future__ import annotations

from collections.abc import Sequence

from sightline.metrics.base import Labels
from sightline.metrics.calibration import Bin
from sightline.metrics.curves import GRID, Curves
from sightline.metrics.metric import PerClassMetric
from sightline.metrics.metric_table import of_kind
from sightline.metrics.per_class import ClassScore
from sightline.metrics.selective import RiskCoverage
from sightline.reporting.plots import bars, confusion_matrix, curve_plots
from sightline.reporting.render import Picture, picture

Figures = dict[str, Picture]


def of_confusion(counts: Labels, classes: Sequence[str]) -> Figures:
    """Returns the confusion matrix in images and, if numbers fit into its cells, in percent."""
    figures = {
        "confusion_counts": picture(
            lambda theme: confusion_matrix.draw_confusion(counts, classes, theme),
            "Confusion matrix: number of images for each pair of true and predicted class",
            "Rows are true classes; correct predictions in blue, errors in orange. Shades are fractions of a row.",
        )
    }
    if len(classes) <= confusion_matrix.MOST_CELLS_WITH_TEXT:  # with more classes, the two figures are the same
        figures["confusion_rates"] = picture(
            lambda theme: confusion_matrix.draw_confusion(counts, classes, theme, rates=True),
            "Confusion matrix: percent of each true class",
            "The same in percent of each row; the diagonal is the recall.",
        )
    return figures


def of_classes(scores: Sequence[ClassScore], classes: Sequence[str]) -> Figures:
    """Returns the bars of the per-class metrics."""
    names = ", ".join(metric.title for metric in of_kind(PerClassMetric).values())
    return {
        "per_class": picture(
            lambda theme: bars.draw_per_class(scores, classes, theme),
            f"Bars of each class: {names}; the table below holds the numbers",
            f"{names} of each class.",
        )
    }


def of_curves(found: Curves) -> Figures:
    """Returns the precision-recall curves and, if any class has one, the ROC curves."""
    figures = {}
    if found.roc:
        lines = [(found.false_rates, y) for y in found.roc.values()]
        figures["roc"] = picture(
            lambda theme: curve_plots.draw_roc(lines, (found.false_rates, found.mean_roc), theme),
            "ROC curve of each class against the rest, and their mean",
            "Each class against the rest (faint) and their mean (strong).",
        )
    lines_pr = [(GRID, y) for y in found.precision.values()]
    figures["precision_recall"] = picture(
        lambda theme: curve_plots.draw_precision_recall(lines_pr, (GRID, found.mean_precision), theme),
        "Precision-recall curve of each class against the rest, and their mean",
        "Each class against the rest (faint) and their mean (strong).",
    )
    return figures


def of_confidence(
    bins: Sequence[Bin],
    curve: RiskCoverage,
    before: Sequence[Bin] = (),
    chosen: tuple[float, float] | None = None,
) -> Figures:
    """Returns the reliability diagram and the risk-coverage curve.

    Args:
        bins: Bins of images of similar confidence.
        curve: Error rate by coverage.
        before: The bins before calibration.
        chosen: Coverage and risk of the threshold chosen on the validation split.
    """
    return {
        "reliability": picture(
            lambda theme: curve_plots.draw_reliability(bins, theme, before),
            "Reliability diagram: accuracy by confidence",
            "Images in groups of equal size by confidence, with 95 % intervals. On the dashed line, a probability of "
            "90 % is right nine times in ten; below it, the model is overconfident.",
        ),
        "risk_coverage": picture(
            lambda theme: curve_plots.draw_risk_coverage(curve.coverage, curve.risk, theme, chosen),
            "Error rate by the fraction of images that are classified",
            "Error rate if the model only classifies the images that it is most certain of; dashed: all images.",
        ),
    }
