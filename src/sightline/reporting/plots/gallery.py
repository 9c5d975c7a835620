"""Galleries of images with short texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sightline.datasets.processed_set import Images
from sightline.reporting.plots.overlay import rgb
from sightline.reporting.plots.style import Theme, figure_png, new_figure, styled

COLUMNS = 6


@dataclass(frozen=True)
class Tile:
    """One image of a gallery.

    Attributes:
        image: [height, width, channels] uint8.
        above: A line above it.
        below: A line below it.
        wrong: Whether it is an error.
    """

    image: Images
    above: str
    below: str
    wrong: bool = True


@styled
def draw_gallery(tiles: Sequence[Tile], title: str, theme: Theme, columns: int = COLUMNS) -> bytes | None:
    """Draws images in rows.

    Args:
        tiles: The images to show, in order, with texts that the font supports (see `style.class_label`).
        title: A line above the gallery.
        theme: The colours.
        columns: Maximum number of images per row.

    Returns:
        The PNG; None without tiles.
    """
    if not tiles:
        return None
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    # Wide enough for the longest line, since the layout accounts for a title's height but not for its width.
    column = max(1.55, *(0.088 * len(tile.above) for tile in tiles), *(0.08 * len(tile.below) for tile in tiles))
    figure = new_figure(max(column * columns, 0.075 * len(title)), 0.4 + 2.0 * rows, theme)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid:
        axes.axis("off")
    for axes, tile in zip(grid, tiles, strict=False):
        axes.imshow(rgb(tile.image), interpolation="nearest")
        colour = theme.wrong if tile.wrong else theme.right
        axes.set_title(tile.above, fontsize=8, color=colour, loc="center", pad=3, weight="bold")
        axes.text(0.5, -0.05, tile.below, transform=axes.transAxes, ha="center", va="top", color=theme.ink, fontsize=8)
    figure.suptitle(title, fontsize=9, color=theme.muted)
    return figure_png(figure)
