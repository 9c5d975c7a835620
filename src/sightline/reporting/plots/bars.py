"""Plots of bars and intervals, for classes, methods and slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.ticker import MaxNLocator, PercentFormatter

from sightline.metrics.metric import PerClassMetric
from sightline.metrics.metric_table import of_kind
from sightline.metrics.per_class import ClassScore
from sightline.reporting.plots.style import Theme, class_label, dress, figure_png, new_figure, shown_all, styled

MOST_BARS = 30


@styled
def draw_per_class(scores: Sequence[ClassScore], classes: Sequence[str], theme: Theme) -> bytes:
    """Draws the metrics of each class as bars with 95 % intervals.

    With more than `MOST_BARS` classes, only those with test images and the lowest F1 are drawn, worst first.
    """
    order = list(range(len(classes)))
    note = ""
    if len(order) > MOST_BARS:
        order = sorted((i for i in order if scores[i].support), key=lambda i: (scores[i].values["f1"], i))[:MOST_BARS]
        note = f"; the {len(order)} lowest of {len(classes)} classes"
    height = np.arange(len(order))
    figure = new_figure(8.0, 1.1 + 0.24 * len(order), theme)
    metrics = of_kind(PerClassMetric)
    panels = figure.subplots(1, len(metrics), sharey=True)
    chosen = [scores[i] for i in order]
    for axes, (name, metric) in zip(panels, metrics.items(), strict=True):
        values = [s.values[name] for s in chosen]
        dress(axes, theme)
        axes.barh(height, values, height=0.7, color=theme.right, alpha=0.45, linewidth=0)
        axes.vlines(values, height - 0.35, height + 0.35, color=theme.right, linewidth=2.0)
        low, high = np.array([s.intervals[name] for s in chosen]).T
        axes.hlines(height, low, high, color=theme.ink, linewidth=1.0)
        axes.set_title(metric.title, color=theme.ink)
        axes.set_xlim(0, 1.01)
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set_xticks([0, 0.5, 1])
        for text, side in zip(axes.get_xticklabels(), ("left", "center", "right"), strict=True):
            text.set_horizontalalignment(side)
        axes.grid(axis="x", color=theme.grid, linewidth=0.7)
        axes.spines[["left", "bottom"]].set_visible(False)
    panels[0].set_yticks(height, [class_label(classes[i], i) for i in order])
    panels[0].set_ylim(len(order) - 0.5, -0.5)
    figure.supxlabel(f"bars: value, lines: 95 % interval{note}", fontsize=8, color=theme.muted)
    return figure_png(figure)


@dataclass(frozen=True)
class IntervalBar:
    """A share with its interval, drawn as a row; `strong` ones are emphasised."""

    name: str
    value: float
    low: float
    high: float
    strong: bool = False


@styled
def draw_intervals(rows: Sequence[IntervalBar], title: str, theme: Theme) -> bytes:
    """Draws shares as points with 95 % intervals, one row each, in the given order."""
    figure = new_figure(5.6, 0.95 + 0.34 * len(rows), theme)
    axes = figure.subplots()
    dress(axes, theme)
    for place, row in enumerate(rows):
        colour = theme.right if row.strong else theme.third
        axes.hlines(place, row.low, row.high, color=colour, linewidth=5.0, alpha=0.4, capstyle="round")
        axes.plot(row.value, place, marker="o", markersize=7, color=colour)
    axes.set_yticks(range(len(rows)), shown_all([row.name for row in rows], 40))
    for text, row in zip(axes.get_yticklabels(), rows, strict=True):
        text.set_fontweight("bold" if row.strong else "normal")
    axes.set_ylim(len(rows) - 0.5, -0.5)
    low, high = min(row.low for row in rows), max(row.high for row in rows)
    margin = max(high - low, 0.01) * 0.06
    axes.set_xlim(max(low - margin, -0.02), min(high + margin, 1.02))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6))
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0 if high - low > 0.05 else 1))
    axes.grid(axis="x", color=theme.grid, linewidth=0.7)
    axes.spines[:].set_visible(False)
    axes.set_title(title, color=theme.ink)
    return figure_png(figure)
