"""Plot of robustness as a shaded table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sightline.metrics.base import Floats
from sightline.reporting.plots.style import Theme, dress, figure_png, new_figure, shown_all, styled


@styled
def draw_robustness(names: Sequence[str], accuracies: Floats, clean: float, theme: Theme) -> bytes:
    """Draws the accuracy under each corruption and severity; darker shades mean a larger loss.

    Args:
        names: Names of the n corruptions.
        accuracies: [n, severities], 0..1.
        clean: Accuracy on the images without corruption.
        theme: The colours.
    """
    order = np.argsort(accuracies.mean(axis=1), kind="stable")
    table = np.column_stack([np.full(len(names), clean), accuracies])[order]
    rows, columns = table.shape
    figure = new_figure(1.5 + 0.55 * columns, 0.9 + 0.29 * rows, theme)
    axes = figure.subplots()
    dress(axes, theme)
    lost = np.clip(clean - table, 0, None) / max(clean, 1e-9)
    axes.imshow(lost, cmap=theme.scale(theme.wrong), vmin=0, vmax=1, aspect="auto")
    for row, column in np.ndindex(rows, columns):
        colour = theme.paper if lost[row, column] > 0.5 else theme.ink
        axes.text(column, row, f"{100 * table[row, column]:.0f}", ha="center", va="center", color=colour, fontsize=8.5)
    axes.set_yticks(range(rows), [shown_all([n.replace("_", " ") for n in names])[i] for i in order])
    axes.set_xticks(range(columns), ["none", *map(str, range(1, columns))])
    axes.xaxis.set_ticks_position("top")
    axes.set_xticks(np.arange(columns - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(rows - 1) + 0.5, minor=True)
    axes.grid(which="minor", color=theme.paper, linewidth=1.5)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    title = "Accuracy in %, by corruption and severity"
    figure.suptitle(title, x=0.02, ha="left", fontsize=10, fontweight="bold", color=theme.ink)
    return figure_png(figure)
