"""The ranking of a sweep's jobs, with intervals, and the jobs that do not differ significantly from the best."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sightline.datasets import predictions
from sightline.datasets.predictions import Predictions
from sightline.metrics import intervals, paired
from sightline.metrics.base import Floats, Interval
from sightline.sweep.config import DIRECTIONS


@dataclass(frozen=True)
class FinishedJob:
    """A job that completed or was pruned.

    Attributes:
        digest: The job's digest.
        words: The values of the swept knobs as text.
        values: The values of the swept knobs, {knob: value}.
        result: Its metrics.
        run_id: Its run in MLflow; None if unknown.
        pruned: Whether it was ended before its last epoch; it then has no rank.
    """

    digest: str
    words: str
    values: Mapping[str, str]
    result: Mapping[str, float]
    run_id: str | None = None
    pruned: bool = False


@dataclass(frozen=True)
class RankedJob:
    """A job of the ranking.

    Attributes:
        job: The job.
        interval: 95 % interval of the metric; None if it has none.
        as_good: Whether it does not differ significantly from the best one; with several metrics, whether it is on the
            Pareto front.
    """

    job: FinishedJob
    interval: Interval | None
    as_good: bool


def rank_jobs(jobs: Sequence[FinishedJob], metrics: Sequence[str], answers: Path) -> list[RankedJob]:
    """Returns the completed jobs, best first.

    Args:
        jobs: The jobs; pruned ones are left out.
        metrics: The metrics that they are ranked by.
        answers: Folder with the jobs' predictions.
    """
    whole = [job for job in jobs if not job.pruned]
    signs = {metric: 1 if DIRECTIONS[metric] == "minimize" else -1 for metric in metrics}
    ordered = sorted(whole, key=lambda job: [signs[metric] * job.result[metric] for metric in metrics])
    if len(metrics) > 1:
        points = [[signs[metric] * job.result[metric] for metric in metrics] for job in ordered]
        return [
            RankedJob(job, None, not any(_dominates(other, point) for other in points))
            for job, point in zip(ordered, points, strict=True)
        ]
    (metric,) = metrics
    read = {job.digest: _predictions_of(answers / job.digest / "answers.parquet") for job in ordered}
    best = read[ordered[0].digest] if ordered else None
    return [
        RankedJob(
            job,
            _interval(metric, job.result[metric], read[job.digest]),
            job.result[metric] == ordered[0].result[metric] or _as_good(metric, best, read[job.digest]),
        )
        for job in ordered
    ]


def ranking_rows(ranked: Sequence[RankedJob], metrics: Sequence[str]) -> list[list[str]]:
    """Returns the ranking as rows of text after a header: rank, metrics, intervals (if there are any) and settings."""
    intervals_known = any(each.interval for each in ranked)
    rows = [["", *metrics, *(["95 % interval"] if intervals_known else []), "settings"]]
    for place, each in enumerate(ranked, 1):
        mark = " " if not each.as_good or (place == 1 and len(metrics) == 1) else "=" if len(metrics) == 1 else "*"
        shown = [f"{each.job.result[metric]:.4g}" for metric in metrics]
        interval = f"{each.interval[0]:.4g} to {each.interval[1]:.4g}" if each.interval else ""
        rows.append([f"{place}{mark}", *shown, *([interval] if intervals_known else []), each.job.words])
    return rows


def _dominates(a: Sequence[float], b: Sequence[float]) -> bool:
    return all(x <= y for x, y in zip(a, b, strict=True)) and any(x < y for x, y in zip(a, b, strict=True))


def _predictions_of(path: Path) -> Predictions | None:
    return predictions.load_predictions(path) if path.is_file() else None


def _losses(answers: Predictions) -> Floats:
    chosen = answers.probabilities[np.arange(len(answers.labels)), answers.labels]
    return np.asarray(-np.log(np.maximum(chosen, 1e-12)))


def _interval(metric: str, value: float, answers: Predictions | None) -> Interval | None:
    if answers is None or not len(answers.labels):
        return None
    if metric in ("val_accuracy", "test_accuracy"):
        return intervals.wilson(float(answers.correct.sum()), len(answers.labels))
    if metric == "val_loss":
        low, high = _mean(_losses(answers))
        return max(0.0, min(low, value)), max(high, value)
    return None


def _mean(values: Floats) -> Interval:
    if len(values) < 2:
        return -math.inf, math.inf
    half = intervals.Z * float(values.std(ddof=1)) / math.sqrt(len(values))
    return float(values.mean()) - half, float(values.mean()) + half


def _as_good(metric: str, best: Predictions | None, other: Predictions | None) -> bool:
    """Returns whether the interval of the paired difference to the best job contains 0; False if not comparable."""
    if best is None or other is None or best.ids != other.ids or not best.ids:
        return False
    if metric in ("val_accuracy", "test_accuracy"):
        _, low, high = paired.difference(best.correct, other.correct)
        return low <= 0 <= high
    if metric == "val_loss":
        low, high = _mean(_losses(other) - _losses(best))
        return low <= 0 <= high
    return False
