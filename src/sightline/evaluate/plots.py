"""The pictures: each function takes data and a theme and returns a PNG, the same bytes for the same input."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.colors import PowerNorm
from matplotlib.ticker import MaxNLocator, PercentFormatter

from sightline.errors import UserError
from sightline.evaluate.style import Theme, dress, new_figure, png, shown, shown_all, styled
from sightline.metrics.base import Floats, Labels
from sightline.metrics.classification import ClassScore
from sightline.shards import Images

MOST_CELLS_WITH_TEXT = 25
MOST_NAMED = 120
MOST_BARS = 30


@styled
def confusion(counts: Labels, classes: Sequence[str], theme: Theme, rates: bool = False) -> bytes:
    """Draws a confusion matrix; right answers in one hue, errors in another.

    Errors are few where a model is any good, so their shade grows with the square root of the rate: a single one
    is still seen.

    Args:
        counts: [K, K]; rows are true classes.
        classes: K names.
        theme: The colours.
        rates: Write each row's shares in percent instead of counts. Colours show shares either way.
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
    return png(figure)


@styled
def per_class(scores: Sequence[ClassScore], classes: Sequence[str], theme: Theme) -> bytes:
    """Draws precision, recall and F1 of each class as bars, the first two with their 95 % intervals.

    Beyond `MOST_BARS` classes only those with the lowest F1 are drawn, worst first, of those with test images.
    """
    order = list(range(len(classes)))
    note = ""
    if len(order) > MOST_BARS:
        order = sorted((i for i in order if scores[i].support), key=lambda i: (scores[i].f1, i))[:MOST_BARS]
        note = f"; the {len(order)} lowest of {len(classes)} classes"
    height = np.arange(len(order))
    figure = new_figure(8.0, 1.1 + 0.24 * len(order), theme)
    panels = figure.subplots(1, 3, sharey=True)
    chosen = [scores[i] for i in order]
    columns = [
        ("Precision", [s.precision for s in chosen], [s.precision_interval for s in chosen]),
        ("Recall", [s.recall for s in chosen], [s.recall_interval for s in chosen]),
        ("F1", [s.f1 for s in chosen], None),
    ]
    for axes, (title, values, intervals) in zip(panels, columns, strict=True):
        dress(axes, theme)
        axes.barh(height, values, height=0.7, color=theme.right, alpha=0.45, linewidth=0)
        axes.vlines(values, height - 0.35, height + 0.35, color=theme.right, linewidth=2.0)
        if intervals:
            low, high = np.array(intervals).T
            axes.hlines(height, low, high, color=theme.ink, linewidth=1.0)
        axes.set_title(title, color=theme.ink)
        axes.set_xlim(0, 1.01)
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set_xticks([0, 0.5, 1])
        for text, side in zip(axes.get_xticklabels(), ("left", "center", "right"), strict=True):
            text.set_horizontalalignment(side)
        axes.grid(axis="x", color=theme.grid, linewidth=0.7)
        axes.spines[["left", "bottom"]].set_visible(False)
    panels[0].set_yticks(height, [shown(classes[i], i) for i in order])
    panels[0].set_ylim(len(order) - 0.5, -0.5)
    figure.supxlabel(f"bars: value, lines: 95 % interval{note}", fontsize=8, color=theme.muted)
    return png(figure)


def read_history(path: Path) -> dict[str, Floats]:
    """Reads the CSV that training wrote: columns of numbers, [epochs] each; an empty cell is NaN.

    Raises:
        UserError: If it is not such a table, naming file and fault.
    """
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream, strict=True))
    if not rows or "epoch" not in rows[0]:
        raise UserError(f"{path}: no column 'epoch', or no row; run the train stage again")
    try:
        # A row that is too short has None here, which float refuses; an empty cell is "".
        return {n: np.array([np.nan if row[n] == "" else float(row[n]) for row in rows]) for n in rows[0]}
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}: not a table of numbers ({error}); run the train stage again") from None


def quantities(history: Mapping[str, Floats]) -> list[str]:
    """Returns what a history tells about training or validation: `loss` for a column `train_loss` or `val_loss`."""
    matches = (re.fullmatch(r"(?:train|val)_(\w+)", name) for name in history)
    return list(dict.fromkeys(match[1] for match in matches if match))


@styled
def learning_curve(history: Mapping[str, Floats], what: str, theme: Theme) -> bytes:
    """Draws one quantity by epoch, a line for training and one for validation where the history has them."""
    figure = new_figure(4.6, 3.1, theme)
    axes = figure.subplots()
    dress(axes, theme)
    for side, label, colour in (("train", "training", theme.third), ("val", "validation", theme.right)):
        if f"{side}_{what}" in history:
            y = history[f"{side}_{what}"]
            # A single epoch is a point: a line alone would not be seen.
            marker = "o" if len(y) == 1 else None
            axes.plot(history["epoch"], y, color=colour, linewidth=1.8, marker=marker, label=label)
    axes.set_title(what.replace("_", " ").capitalize(), color=theme.ink)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    axes.grid(axis="y", color=theme.grid, linewidth=0.7)
    axes.spines[["left"]].set_visible(False)
    if what.endswith("loss"):
        axes.set_ylim(bottom=0)
    axes.legend(frameon=False, labelcolor=theme.ink, loc="best")
    return png(figure)


@dataclass(frozen=True)
class Error:
    """One wrong answer: place in the split, true and predicted class, and the probability given to each."""

    position: int
    id: str
    label: int
    predicted: int
    probability: float
    probability_of_true: float


def worst_errors(ids: Sequence[str], labels: Labels, predicted: Labels, probabilities: Floats, n: int) -> list[Error]:
    """Returns the `n` errors of which the model was most certain, most certain first, then by id."""
    wrong = [int(i) for i in np.nonzero(labels != predicted)[0]]
    errors = [
        Error(
            i,
            ids[i],
            int(labels[i]),
            int(predicted[i]),
            float(probabilities[i, predicted[i]]),
            float(probabilities[i, labels[i]]),
        )
        for i in wrong
    ]
    return sorted(errors, key=lambda e: (-e.probability, e.id))[:n]


@styled
def gallery(errors: Sequence[Error], images: Images, classes: Sequence[str], theme: Theme) -> bytes | None:
    """Draws errors with their pictures.

    Args:
        errors: What to show, in order.
        images: [len(errors), height, width, 1 or 3] uint8.
        classes: K names.
        theme: The colours.

    Returns:
        The PNG; None if there are no errors.
    """
    if not errors:
        return None
    columns = min(6, len(errors))
    rows = -(-len(errors) // columns)
    figure = new_figure(max(1.55 * columns, 3.0), 0.4 + 2.0 * rows, theme)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid:
        axes.axis("off")
    for axes, error, image in zip(grid, errors, images, strict=False):
        axes.imshow(_rgb(image), interpolation="nearest")
        true, said = shown(classes[error.label], error.label, 16), shown(classes[error.predicted], error.predicted, 16)
        axes.set_title(
            f"{said}  {100 * error.probability:.0f} %",
            fontsize=8,
            color=theme.wrong,
            loc="center",
            pad=3,
            weight="bold",
        )
        axes.text(
            0.5, -0.05, f"is {true}", transform=axes.transAxes, ha="center", va="top", color=theme.ink, fontsize=8
        )
    title = "Most certain errors: predicted class and its probability, true class below"
    figure.suptitle(title if columns > 2 else "Most certain errors", fontsize=9, color=theme.muted)
    return png(figure)


def _rgb(image: Images) -> npt.NDArray[np.uint8]:
    """Returns [height, width, 3] for one image of 1 or 3 channels."""
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image[:, :, :3]
