"""The page of a sweep: parallel coordinates of its jobs, a table, and the knobs' importance; also as Markdown.

The page has no script: highlighting and filtering are done by style sheets.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sightline.config.location import stage_command
from sightline.core import credentials
from sightline.core.text import number_in
from sightline.reporting.render import render
from sightline.sweep.config import DIRECTIONS, TRAINED
from sightline.sweep.job_ranking import RankedJob

TEMPLATE = "sweep.html.j2"
WIDTH, HEIGHT, TOP, BOTTOM, MARGIN = 1000, 380, 50, 350, 90
MOST_FILTERED = 12
"""Maximum number of values of a knob for which the page offers filters."""
WIDE = 50
"""Ratio of a knob's largest to its smallest value above which its axis is logarithmic, as for learning rates."""
MOST_LISTED = 50
"""Maximum number of jobs in the description of the run."""


@dataclass(frozen=True)
class SweepSummary:
    """The facts about a sweep.

    Attributes:
        name: The sweep's name.
        command: The command line's words.
        metrics: The metrics that jobs are ranked by.
        ranked: The jobs, best first.
        pruned: Number of jobs that were stopped early.
        failed: A line for each job that failed.
        importances: Each knob's share of the variance of the first metric; empty if there are too few jobs.
    """

    name: str
    command: str
    metrics: Sequence[str]
    ranked: Sequence[RankedJob]
    pruned: int
    failed: Sequence[str]
    importances: Mapping[str, float]

    @property
    def verdict(self) -> str:
        """The outcome in a sentence or two."""
        if not self.ranked:
            return "No job has ended well."
        count = f"{len(self.ranked)} job{'s' if len(self.ranked) > 1 else ''}"
        if len(self.metrics) > 1:
            front = sum(each.as_good for each in self.ranked)
            return f"{count}; no other is better in all of {', '.join(self.metrics)} than {front} of them."
        others = sum(each.as_good for each in self.ranked) - 1
        by = judges(self.metrics)
        tie = f" {by[0].upper()}{by[1:]} cannot tell {others} more from it." if others else ""
        return f"Best of {count}: {self.ranked[0].job.words}.{tie}"

    @property
    def caution(self) -> str:
        """A remark on the best job's value."""
        if of_test(self.metrics):
            return (
                "By the test split: a job that was chosen by it looks better than it is, and no split is left to "
                "measure by how much."
            )
        if set(self.metrics) <= set(TRAINED):
            return "By the validation split, which also chose it: the best of many jobs looks better than it is."
        return "By what the stages after the training have measured."


def judges(metrics: Sequence[str]) -> str:
    """Returns the basis of comparisons between jobs, as the subject of a sentence."""
    if of_test(metrics):
        return "the test images"
    return "the validation images" if set(metrics) <= {"val_loss", "val_accuracy"} else "the numbers"


def of_test(metrics: Sequence[str]) -> bool:
    """Returns whether any of the metrics is measured on the test split."""
    return any(metric.startswith(("test_", "baseline_", "promote_")) for metric in metrics)


@dataclass(frozen=True)
class PageRow:
    """A job on the page: a row of the table, and a line of the plot.

    Attributes:
        place: Its rank, from 1.
        words: Its values, as text.
        knobs: Its values, in the order of the knobs.
        results: (metric, value) pairs.
        interval: The interval of the first metric; "" if there is none.
        as_good: See `RankedJob`.
        run: Its run's id in MLflow.
        good: 0 (the worst) to 1 (the best), which determines the line's colour.
        path: The line, as SVG path data.
        classes: CSS classes used by the filters.
    """

    place: int
    words: str
    knobs: Sequence[str]
    results: Sequence[tuple[str, str]]
    interval: str
    as_good: bool
    run: str
    good: str
    path: str
    classes: str


def render_page(summary: SweepSummary) -> str:
    """Returns the page as HTML."""
    knobs = list(summary.ranked[0].job.values) if summary.ranked else []
    columns = {knob: [each.job.values[knob] for each in summary.ranked] for knob in knobs}
    scales = {knob: _scale(values) for knob, values in columns.items()}
    results = {metric: [each.job.result[metric] for each in summary.ranked] for metric in summary.metrics}
    heights = {metric: _heights(metric, values) for metric, values in results.items()}
    names = [*knobs, *summary.metrics]
    x = {name: MARGIN + i * (WIDTH - 2 * MARGIN) / max(1, len(names) - 1) for i, name in enumerate(names)}
    several = {knob: _distinct(values) for knob, values in columns.items()}
    filters = {knob: values for knob, values in several.items() if 1 < len(values) <= MOST_FILTERED}
    jobs = []
    for i, each in enumerate(summary.ranked):
        points = [(x[knob], _y(scales[knob][each.job.values[knob]])) for knob in knobs]
        points += [(x[metric], _y(heights[metric][i])) for metric in summary.metrics]
        jobs.append(
            PageRow(
                place=i + 1,
                words=each.job.words,
                knobs=[each.job.values[knob] for knob in knobs],
                results=[(metric, f"{each.job.result[metric]:.4g}") for metric in summary.metrics],
                interval=_interval(each),
                as_good=each.as_good,
                run=each.job.run_id or "",
                good=f"{heights[summary.metrics[0]][i]:.3f}",
                path="M" + " L".join(f"{a:.1f} {b:.1f}" for a, b in points),
                classes=" ".join(
                    f"k{n}v{values.index(each.job.values[knob]) + 1}"
                    for n, (knob, values) in enumerate(filters.items(), 1)
                ),
            )
        )
    axes: list[dict[str, Any]] = []
    for name in names:
        last = name == names[-1]
        ticks = _knob_ticks(scales[name]) if name in scales else _metric_ticks(name, results[name])
        anchor = "end" if last else "start" if name == names[0] else "middle"
        side, shift = ("start", 7) if last else ("end", -7)
        axes.append({"name": name, "x": x[name], "ticks": ticks, "anchor": anchor, "side": side, "shift": shift})
    return render(
        Path(__file__).parent,
        TEMPLATE,
        name=summary.name,
        command=credentials.mask(f"{stage_command('sweep')} {summary.command}"),
        metrics=list(summary.metrics),
        headline=jobs[0].results[0][1] if jobs else "-",
        verdict=summary.verdict,
        caution=summary.caution,
        judges=judges(summary.metrics),
        jobs=jobs,
        knobs=knobs,
        filters=[{"name": knob, "values": values} for knob, values in filters.items()],
        axes=axes,
        pruned=summary.pruned,
        failed=list(summary.failed),
        importances=sorted(summary.importances.items(), key=lambda item: -item[1]),
        width=WIDTH,
        height=HEIGHT,
        top=TOP,
        bottom=BOTTOM,
    )


def markdown(summary: SweepSummary, experiment: str) -> str:
    """Returns the sweep as the description of its run in MLflow, with links to the jobs' runs.

    Args:
        summary: The sweep.
        experiment: The experiment's id, for the links.
    """
    heads = ["", *summary.metrics, *(["95 % interval"] if len(summary.metrics) == 1 else []), "job"]
    rows = [heads, ["---"] * len(heads)]
    for place, each in enumerate(summary.ranked[:MOST_LISTED], 1):
        label = each.job.words.replace("|", "\\|")
        address = f"#/experiments/{experiment}/runs/{each.job.run_id}"
        shown = [f"{each.job.result[metric]:.4g}" for metric in summary.metrics]
        interval = [_interval(each)] if len(summary.metrics) == 1 else []
        link = f"[{label}]({address})" if each.job.run_id else label
        rows.append([f"{place}{' *' if each.as_good else ''}", *shown, *interval, link])
    lines = [summary.verdict, "", *(f"| {' | '.join(row)} |" for row in rows)]
    if len(summary.ranked) > MOST_LISTED:
        lines.append(f"\n... and {len(summary.ranked) - MOST_LISTED} more")
    if summary.pruned:
        lines.append(f"\n{summary.pruned} were stopped early.")
    if summary.failed:
        lines.append("\nFailed:\n" + "\n".join(f"- {line}" for line in summary.failed))
    taking = "`{} --job 1` adopts one, by its place." if len(summary.metrics) > 1 else "`{}` adopts the best."
    lines.append(f"\nThe whole page: artifact `sweep.html`. {taking.format(f'sightline adopt {summary.name}')}")
    return "\n".join(lines)


def _interval(each: RankedJob) -> str:
    return f"{each.interval[0]:.4g} to {each.interval[1]:.4g}" if each.interval else ""


def _distinct(values: Sequence[str]) -> list[str]:
    """Returns the distinct values; numbers are sorted."""
    found = list(dict.fromkeys(values))
    numbers = [number_in(value) for value in found]
    if all(number is not None for number in numbers):
        return sorted(found, key=float)
    return found


def _scale(values: Sequence[str]) -> dict[str, float]:
    """Places a knob's values on its axis, 0 (bottom) to 1 (top): few in even steps, many numbers to scale.

    >>> [round(share, 2) for share in _scale([f"{10**-i * 1.01:.3g}" for i in range(13)]).values()][::4]
    [0.0, 0.33, 0.67, 1.0]
    """
    found = _distinct(values)
    numbers = [number_in(value) for value in found]
    if len(found) > MOST_FILTERED and all(number is not None for number in numbers):
        low, high = float(found[0]), float(found[-1])
        if low > 0 and high > WIDE * low:
            return {value: math.log(float(value) / low) / math.log(high / low) for value in found}
        return {value: (float(value) - low) / (high - low) for value in found}
    return {value: (i + 0.5) / len(found) for i, value in enumerate(found)}


def _heights(metric: str, values: Sequence[float]) -> list[float]:
    """Places results on an axis, 0 (the worst) to 1 (the best)."""
    low, high = min(values, default=0.0), max(values, default=0.0)
    shares = [(value - low) / (high - low) if high > low else 1.0 for value in values]
    return [1 - share if high > low else 1.0 for share in shares] if DIRECTIONS[metric] == "minimize" else shares


def _y(share: float) -> float:
    return BOTTOM - share * (BOTTOM - TOP)


def _knob_ticks(scale: Mapping[str, float]) -> list[tuple[float, str]]:
    ends = list(scale)
    shown = ends if len(ends) <= MOST_FILTERED else [ends[0], ends[-1]]
    return [(_y(scale[value]), value if len(value) <= 14 else f"{value[:13]}…") for value in shown]


def _metric_ticks(metric: str, values: Sequence[float]) -> list[tuple[float, str]]:
    if not values:
        return []
    best, worst = min(values), max(values)
    if DIRECTIONS[metric] == "maximize":
        best, worst = worst, best
    return [(TOP, f"{best:.4g}"), *([(BOTTOM, f"{worst:.4g}")] if worst != best else [])]
