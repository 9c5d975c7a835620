"""Line plots: training history, learning curve, ROC, precision-recall, reliability, risk by coverage."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from sightline.metrics.base import Floats
from sightline.metrics.calibration import Bin
from sightline.reporting.plots.style import Theme, dress, figure_png, new_figure, styled

SIZE = (4.6, 3.7)
Line = tuple[Floats, Floats]
"""x and y, [n] each."""

_INSET_FROM = 0.9
_PERCENT = PercentFormatter(1, decimals=0)


@styled
def draw_learning_curve(history: Mapping[str, Floats], quantity: str, theme: Theme) -> bytes:
    """Draws one quantity by epoch, with lines for training and validation if the history has them."""
    figure = new_figure(4.6, 3.1, theme)
    axes = figure.subplots()
    dress(axes, theme)
    for side, label, colour in (("train", "training", theme.third), ("val", "validation", theme.right)):
        if f"{side}_{quantity}" in history:
            y = history[f"{side}_{quantity}"]
            # A single epoch needs a marker, since a line of one point is invisible.
            marker = "o" if len(y) == 1 else None
            axes.plot(history["epoch"], y, color=colour, linewidth=1.8, marker=marker, label=label)
    axes.set_title(quantity.replace("_", " ").capitalize(), color=theme.ink)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    axes.grid(axis="y", color=theme.grid, linewidth=0.7)
    axes.spines[["left"]].set_visible(False)
    if quantity.endswith("loss"):
        axes.set_ylim(bottom=0)
    axes.legend(frameon=False, labelcolor=theme.ink, loc="best")
    return figure_png(figure)


@styled
def draw_label_curve(per_class: Sequence[int], accuracies: Sequence[Sequence[float]], theme: Theme) -> bytes:
    """Draws accuracy by the number of labelled images per class: a line of means, and a point for each draw."""
    figure = new_figure(4.6, 3.1, theme)
    axes = figure.subplots()
    dress(axes, theme)
    axes.plot(per_class, [np.mean(draws) for draws in accuracies], color=theme.right, linewidth=1.8)
    for count, draws in zip(per_class, accuracies, strict=True):
        axes.plot([count] * len(draws), draws, "o", color=theme.right, markersize=3.5)
    axes.set_xscale("log")
    axes.set_xticks(per_class, [f"{count:,}" for count in per_class])
    axes.minorticks_off()
    axes.set_xlabel("training images per class")
    axes.set_title("Accuracy by number of labels", color=theme.ink)
    axes.yaxis.set_major_formatter(_PERCENT)
    axes.grid(axis="y", color=theme.grid, linewidth=0.7)
    axes.spines[["left"]].set_visible(False)
    return figure_png(figure)


@styled
def draw_roc(lines: Sequence[Line], average: Line, theme: Theme) -> bytes:
    """Draws one-vs-rest ROC curves, with each class faint and their average strong.

    Args:
        lines: False and true positive rates of each class for which they are defined.
        average: The same for their average.
        theme: The colours.
    """

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=theme.third, linewidth=1.0, linestyle=(0, (4, 3)))
        _bundle(axes, lines, average, theme)

    corner = (0.0, 1 - _INSET_FROM)
    enlarged = corner if np.interp(corner[1], *average) >= _INSET_FROM else None
    return _square("ROC", "false positive rate", "true positive rate", draw, theme, enlarged)


@styled
def draw_precision_recall(lines: Sequence[Line], average: Line, theme: Theme) -> bytes:
    """Draws one-vs-rest precision-recall curves, with each class faint and their average strong.

    Args:
        lines: Recall and precision of each class for which they are defined.
        average: The same for their average.
        theme: The colours.
    """

    def draw(axes: Axes) -> None:
        _bundle(axes, lines, average, theme)

    enlarged = (_INSET_FROM, 1.0) if np.interp(_INSET_FROM, *average) >= _INSET_FROM else None
    return _square("Precision and recall", "recall", "precision", draw, theme, enlarged)


def _bundle(axes: Axes, lines: Sequence[Line], average: Line, theme: Theme) -> None:
    faint = float(np.clip(3 / max(len(lines), 1), 0.12, 0.45))
    for x, y in lines:
        axes.plot(x, y, color=theme.right, linewidth=0.8, alpha=faint)
    axes.plot(*average, color=theme.right, linewidth=2.0)


def _square(
    title: str, x: str, y: str, draw: Callable[[Axes], None], theme: Theme, corner: tuple[float, float] | None
) -> bytes:
    """Draws in the unit square and, if `corner` gives its range of x, adds an inset with the upper corner enlarged.

    The curves of good models are in that corner; for poor models the inset would be empty.
    """
    figure = new_figure(*SIZE, theme)
    axes = figure.subplots()
    dress(axes, theme)
    draw(axes)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel=x, ylabel=y)
    axes.set_title(title, color=theme.ink)
    _percent_grid(axes, theme)
    if corner is None:
        return figure_png(figure)
    inset = axes.inset_axes((0.44, 0.13, 0.5, 0.5))
    dress(inset, theme)
    draw(inset)
    margin = (1 - _INSET_FROM) * 0.03
    inset.set(xlim=(corner[0] - margin, corner[1] + margin), ylim=(_INSET_FROM - margin, 1 + margin))
    inset.tick_params(labelsize=7, labelcolor=theme.muted)
    inset.set_xticks([corner[0], corner[1]])
    inset.set_yticks([_INSET_FROM, 1.0])
    inset.xaxis.set_major_formatter(_PERCENT)
    inset.yaxis.set_major_formatter(_PERCENT)
    inset.spines[:].set_visible(True)
    inset.spines[:].set_color(theme.muted)
    return figure_png(figure)


@styled
def draw_reliability(bins: Sequence[Bin], theme: Theme, before: Sequence[Bin] = ()) -> bytes:
    """Draws the accuracy by confidence, with 95 % intervals; points on the diagonal are perfectly calibrated.

    Args:
        bins: Bins of images of similar confidence.
        theme: The colours.
        before: The same before calibration, drawn with hollow markers.
    """
    figure = new_figure(*SIZE, theme)
    axes = figure.subplots()
    dress(axes, theme)
    low = min([b.confidence for b in [*bins, *before]] + [b.interval[0] for b in bins])
    start = float(np.floor(max(low - 0.02, 0) * 10) / 10)
    axes.plot([start, 1], [start, 1], color=theme.third, linewidth=1.0, linestyle=(0, (4, 3)))
    if before:
        x, y = [b.confidence for b in before], [b.accuracy for b in before]
        axes.plot(x, y, color=theme.wrong, marker="o", linewidth=0.8, markersize=4, mfc=theme.paper, label="before")
    x, y = [b.confidence for b in bins], [b.accuracy for b in bins]
    axes.vlines(x, *np.array([b.interval for b in bins]).T, color=theme.right, linewidth=1.2, alpha=0.55)
    axes.plot(x, y, color=theme.right, marker="o", linewidth=1.4, markersize=5, label="calibrated")
    margin = (1 - start) * 0.03
    axes.set(xlim=(start - margin, 1 + margin), ylim=(start - margin, 1 + margin))
    axes.set(xlabel="confidence: probability of the prediction", ylabel="accuracy")
    axes.set_title("Reliability", color=theme.ink)
    _percent_grid(axes, theme)
    if before:
        axes.legend(frameon=False, labelcolor=theme.ink, loc="upper left")
    return figure_png(figure)


@styled
def draw_risk_coverage(
    coverage: Floats, risk: Floats, theme: Theme, chosen: tuple[float, float] | None = None
) -> bytes:
    """Draws the error rate by coverage, with the most confident images first.

    Args:
        coverage: [n], ascending to 1.
        risk: [n], the error rates.
        theme: The colours.
        chosen: Coverage and risk of the threshold chosen on the validation split; None if there is none.
    """
    figure = new_figure(*SIZE, theme)
    axes = figure.subplots()
    dress(axes, theme)
    axes.axhline(float(risk[-1]), color=theme.third, linewidth=1.0, linestyle=(0, (4, 3)))
    marker = "o" if len(coverage) == 1 else None
    axes.plot(coverage, risk, color=theme.right, linewidth=2.0, marker=marker)
    top = max(float(risk.max()), chosen[1] if chosen else 0.0, 0.001)
    if chosen:
        axes.plot(*chosen, color=theme.wrong, marker="o", markersize=7, linestyle="none", label="chosen threshold")
        axes.legend(frameon=False, labelcolor=theme.ink, loc="upper left")
    axes.set(
        xlim=(-0.01, 1.02), ylim=(-0.03 * top, top * 1.25), xlabel="coverage: fraction of images that are classified"
    )
    axes.set_ylabel("risk: error rate")
    axes.set_title("Risk by coverage", color=theme.ink)
    _percent_grid(axes, theme)
    axes.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))  # steps of 2.5 would be rounded wrongly
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0 if top > 0.05 else 1 if top > 0.005 else 2))
    return figure_png(figure)


def _percent_grid(axes: Axes, theme: Theme) -> None:
    axes.xaxis.set_major_formatter(_PERCENT)
    axes.yaxis.set_major_formatter(_PERCENT)
    axes.grid(color=theme.grid, linewidth=0.7)
    axes.spines[:].set_visible(False)
