"""Plot of the confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.colors import PowerNorm

from sightline.reporting.plots.style import Theme, dress, figure_png, new_figure, shown_all, styled

MOST_CELLS_WITH_TEXT = 25
MOST_NAMED = 120


@styled
def draw_confusion(counts: npt.NDArray[np.int64], classes: Sequence[str], theme: Theme, rates: bool = False) -> bytes:
    """Draws a confusion matrix; correct predictions in one hue, errors in another.

    A good model makes few errors, so their shade grows with the square root of the rate to keep single ones visible.

    Args:
        counts: [K, K]; rows are true classes.
        classes: K class names.
        theme: The colours.
        rates: Whether to write each row's shares in percent instead of counts. Colours show shares either way.
    """
    num_classes = len(classes)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = float(np.clip(num_classes * 0.36, 3.2, max(7.0, num_classes * 0.15)))
    names = shown_all(classes)
    axis_room = 0.6 + 0.065 * max(map(len, names))
    figure = new_figure(side + axis_room, side + axis_room + 0.3, theme)
    axes = figure.subplots()
    dress(axes, theme)
    diagonal = np.eye(num_classes, dtype=bool)
    wrong = np.where(diagonal, np.nan, shares)
    norm = PowerNorm(0.5, 0, 1)
    axes.imshow(np.where(diagonal, shares, np.nan), cmap=theme.scale(theme.right), vmin=0, vmax=1)
    axes.imshow(np.where(wrong > 0, wrong, np.nan), cmap=theme.scale(theme.wrong), norm=norm)
    if num_classes <= MOST_CELLS_WITH_TEXT:
        size = float(np.clip(side / num_classes * 22, 5, 9))
        for row, column in zip(*np.nonzero(counts), strict=True):
            share = shares[row, column]
            strength = share if row == column else norm(share)
            text = f"{100 * share:.0f}" if rates else str(counts[row, column])
            colour = theme.paper if strength > 0.5 else theme.ink
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=size)
    if num_classes <= MOST_NAMED:
        size = float(np.clip(side / num_classes * 60, 5, 9))
        long = max(map(len, names)) > 3
        axes.set_xticks(range(num_classes), names, rotation=90 if long else 0, fontsize=size)
        axes.set_yticks(range(num_classes), names, fontsize=size)
    axes.set_xticks(np.arange(num_classes - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(num_classes - 1) + 0.5, minor=True)
    axes.grid(which="minor", color=theme.grid, linewidth=0.6 if num_classes <= 50 else 0.25)
    axes.tick_params(which="minor", length=0)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.spines[:].set_visible(False)
    title = "Confusion matrix, % of true class" if rates else "Confusion matrix, images"
    figure.suptitle(title, x=0.02, ha="left", fontsize=10, fontweight="bold", color=theme.ink)
    return figure_png(figure)
