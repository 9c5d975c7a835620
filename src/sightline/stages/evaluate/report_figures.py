"""Figures of the evaluation report: those shared with other pages, and its own."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np

from sightline.metrics.base import Floats
from sightline.metrics.curves import curves
from sightline.reporting import figures as shared
from sightline.reporting.figures import Figures
from sightline.reporting.plots import bars, robustness_table
from sightline.reporting.plots.bars import IntervalBar
from sightline.reporting.plots.curve_plots import draw_label_curve, draw_learning_curve
from sightline.reporting.render import picture
from sightline.stages.evaluate.baseline_comparison import LearningCurve
from sightline.stages.evaluate.history import quantities
from sightline.stages.evaluate.results import Evaluation, Robustness


def report_figures(found: Evaluation, history: Mapping[str, Floats], learned: LearningCurve | None = None) -> Figures:
    """Returns all figures of the report by name.

    Args:
        found: The evaluation.
        history: Columns of the training history, [epochs] each.
        learned: A baseline's learning curve.
    """
    test = found.test
    chosen = None
    if found.abstention.threshold and "selective_accuracy" in found.numbers:
        chosen = (found.numbers["coverage"], 1 - found.numbers["selective_accuracy"])
    return {
        **shared.of_confusion(found.counts, found.classes),
        **shared.of_classes(found.scores, found.classes),
        **shared.of_curves(curves(test.labels, test.probabilities)),
        **shared.of_confidence(
            found.bins,
            found.risk_coverage,
            found.bins_uncalibrated if found.temperature != 1 else (),
            chosen,
        ),
        **(_of_baselines(found) if found.baselines else {}),
        **(_of_labels(learned) if learned else {}),
        **(_of_robustness(found.robustness) if found.robustness else {}),
        **_of_training(history),
    }


def _of_baselines(found: Evaluation) -> Figures:
    n = found.numbers
    rows = [IntervalBar("This network", n["accuracy"], n["accuracy_low"], n["accuracy_high"], strong=True)]
    rows += [IntervalBar(b.title, b.accuracy, *b.interval) for b in found.baselines]
    return {
        "baselines": picture(
            lambda theme: bars.draw_intervals(rows, "Accuracy", theme),
            "Accuracy of the network and of each baseline, with 95 % intervals; the table below holds the numbers",
            "Points: accuracy; bands: 95 % intervals (Wilson).",
        )
    }


def _of_labels(curve: LearningCurve) -> Figures:
    gain, low, high = (f"{100 * value:+.1f}" for value in curve.gain)
    verdict = "more labels like these help" if curve.rises else "more labels like these would help little, if at all"
    caption = (
        f"{curve.title}, on {curve.images:,} validation images; points: draws of the training images. All of them "
        f"against half: {gain} points (95 % interval {low} to {high}): {verdict}."
    )
    return {
        "learning_curve": picture(
            lambda theme: draw_label_curve(curve.per_class, curve.accuracies, theme),
            "Accuracy of a baseline by the number of training images per class",
            caption,
        )
    }


def _of_robustness(found: Robustness) -> Figures:
    table = np.array(list(found.accuracies.values()))
    return {
        "robustness": picture(
            lambda theme: robustness_table.draw_robustness(list(found.accuracies), table, found.clean, theme),
            "Table of the accuracy under each corruption and severity",
            f"The hardest first; “none” is the accuracy on the same {found.images:,} images without corruption. "
            "Darker shades mean a larger loss.",
        )
    }


def _of_training(history: Mapping[str, Floats]) -> Figures:
    drawn = {}
    for quantity in quantities(history):
        title = quantity.replace("_", " ")
        drawn[f"training_{quantity}"] = picture(
            functools.partial(draw_learning_curve, history, quantity),
            f"{title.capitalize()} by epoch, of training and validation",
            f"{title.capitalize()} by epoch.",
        )
    return drawn
