"""Metrics in tables: title, meaning, value and interval as text, all derived from `metrics.metric_table`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sightline.metrics.metric import Metric, PerClassMetric, RankingMetric
from sightline.metrics.metric_table import METRICS, top_k_named
from sightline.reporting.formatting import PERCENT, percent


@dataclass(frozen=True)
class MetricTitle:
    """Title of an entry of `metrics_detail.json`; `sign` is 1 if higher is better, -1 if lower is."""

    title: str
    meaning: str
    in_percent: bool
    sign: int
    main: bool

    @classmethod
    def of(cls, metric: Metric, average: str = "", meaning: str = "", main: bool = True) -> MetricTitle:
        """Builds the title of a metric, or of an average of it over classes."""
        title = f"{metric.title}, {average}" if average else metric.title
        sign = 1 if metric.higher_is_better else -1
        return cls(title, meaning or metric.meaning, metric.in_percent, sign, metric.main and main)

    def shown(self, value: float) -> str:
        """Returns a value as text."""
        return percent(value) if self.in_percent else f"{value:.4f}"


def _titles(metric: Metric) -> list[tuple[str, MetricTitle]]:
    """Returns (name, title) of a metric's entries that tables show."""
    name = metric.name
    if isinstance(metric, PerClassMetric):
        macro = MetricTitle.of(metric, "macro", f"{metric.meaning}; mean over classes")
        weighted = MetricTitle.of(metric, "weighted", "mean over classes by number of test images", main=False)
        return [(f"{name}_macro", macro), (f"{name}_weighted", weighted)]
    if isinstance(metric, RankingMetric):
        return [(f"{name}_macro", MetricTitle.of(metric, "macro"))]
    return [(name, MetricTitle.of(metric))]


def titles() -> dict[str, MetricTitle]:
    """Returns all titles by name, grouped by kind of metric, with all macro averages before the weighted ones."""
    by_kind = itertools.groupby(METRICS.values(), type)
    return dict(title for _, kind in by_kind for column in zip(*map(_titles, kind), strict=True) for title in column)


def known(names: Mapping[str, float]) -> dict[str, MetricTitle]:
    """Returns the titles of those of `names` that have one, including top-k accuracy, in the order of the table."""
    found = {name: title for name, title in titles().items() if name in names}
    for name in names:
        if metric := top_k_named(name):
            found[name] = MetricTitle.of(metric)
    return found


@dataclass(frozen=True)
class MetricRow:
    """One row of a table: the metric, its value and 95 % interval as text, whether it is a main metric."""

    metric: MetricTitle
    value: str
    interval: str
    main: bool


def metric_rows(numbers: Mapping[str, float]) -> list[MetricRow]:
    """Returns the rows of a table of metrics."""
    return [
        MetricRow(
            metric,
            metric.shown(numbers[name]),
            interval_text(metric, numbers.get(f"{name}_low"), numbers.get(f"{name}_high")),
            metric.main,
        )
        for name, metric in known(numbers).items()
    ]


def interval_text(metric: MetricTitle, low: float | None, high: float | None) -> str:
    """Returns an interval as text; an empty string if there is none."""
    if low is None or high is None:
        return ""
    return f"{metric.shown(low).removesuffix(PERCENT)} to {metric.shown(high)}"


def documentation() -> Iterator[str]:
    """Yields the table of all metrics in `docs/evaluation.md`, line by line, in Markdown."""
    yield "| name | meaning | better | source |"
    yield "| --- | --- | --- | --- |"
    for metric in METRICS.values():
        averaged = isinstance(metric, PerClassMetric | RankingMetric)
        ends = ("_macro", "_weighted", "/class_<i>") if averaged else ("",)
        names = ", ".join(f"`{metric.name}{end}`" for end in ends)
        meaning = f"{metric.meaning} ({metric.formula})" if metric.formula else metric.meaning
        better = "higher" if metric.higher_is_better else "lower"
        yield f"| {names} | {meaning} | {better} | {metric.source or '-'} |"
    yield "| `top_<k>_accuracy` | the true class is among the k most probable | higher | - |"


if __name__ == "__main__":
    print(*documentation(), sep="\n")
