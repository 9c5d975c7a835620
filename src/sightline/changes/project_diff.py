"""The difference between two states of the project: parameters, data, metrics, predictions, sizes."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from sightline.changes import dataset_diff, metric_diff
from sightline.changes.dataset_diff import DatasetDiff, DatasetState
from sightline.changes.metric_diff import MetricChange, PairedChange
from sightline.changes.revision import Revision, UnavailableError
from sightline.changes.values import by_dotted_name, yaml_text
from sightline.core.errors import UserError
from sightline.datasets import predictions
from sightline.metrics.headline_metrics import NAMES
from sightline.runs.run_reader import read_runs
from sightline.runs.run_record import MODEL_TAG

DETAIL, METRICS = "reports/metrics_detail.json", "reports/metrics.json"
PREDICTIONS, PARAMS, LOCK = "reports/predictions.parquet", "params.yaml", "dvc.lock"
MODEL = "models/model.json"
TIMES = {"epoch_seconds": "an epoch of training, s", "latency_ms": "one image by the exported network, ms"}
"""Metrics of a training's run in MLflow: stages write no times to their outputs, because they differ between runs."""

T = TypeVar("T")


@dataclass(frozen=True)
class ValueChange:
    """A named value before and after, as text; empty if it is not set."""

    name: str
    before: str
    after: str


@dataclass(frozen=True)
class ProjectDiff:
    """The differences between two states of the project.

    Attributes:
        before: The earlier state.
        after: The later one.
        params: Changed settings of params.yaml.
        data: The dataset; None if that of a state is not available.
        metrics: The main metrics; empty if a state has none.
        answers: The predictions for the test images that both states share; None without any.
        sizes: (path, before, after) of stage outputs that differ, sizes in bytes.
        times: For two different models, the times that MLflow has for both.
        missing: Lines on what could not be compared, with the remedy.
    """

    before: Revision
    after: Revision
    params: list[ValueChange]
    data: DatasetDiff | None
    metrics: list[MetricChange]
    answers: PairedChange | None
    sizes: list[tuple[str, int | None, int | None]]
    times: list[ValueChange]
    missing: list[str]

    @property
    def empty(self) -> bool:
        """Whether nothing differs that could be compared."""
        metrics = any(change.before != change.after for change in self.metrics)
        return not (self.params or metrics or self.sizes or (self.data is not None and not self.data.empty))


def compare_projects(before: Revision, after: Revision) -> ProjectDiff:
    """Compares two states of the project.

    Raises:
        UserError: If a state is not a project.
    """
    missing: dict[Revision, list[str]] = {before: [], after: []}
    states = [_tried(missing, DatasetState.read, revision) for revision in missing]
    metrics = [_tried(missing, _metrics, revision) for revision in missing]
    answers = [_tried(missing, _answers, revision) for revision in missing]
    (old, new), (first, second) = states, answers
    paired = None
    if old and new and first and second:
        paired = metric_diff.paired_change(first, second, old, new)
    times, unasked = [], []
    try:
        times = _time_changes(_model_digest(before), _model_digest(after))
    except UserError as error:
        unasked = [f"times: {error}"]
    return ProjectDiff(
        before=before,
        after=after,
        params=_value_changes(_params(before), _params(after)),
        data=None if old is None or new is None else dataset_diff.compare_datasets(old, new),
        metrics=metric_diff.changes(metrics[0], metrics[1]) if metrics[0] and metrics[1] else [],
        answers=paired,
        sizes=_size_changes(_sizes(before), _sizes(after)),
        times=times,
        missing=[*(str(UnavailableError(revision, *paths)) for revision, paths in missing.items() if paths), *unasked],
    )


def _tried(missing: dict[Revision, list[str]], read: Callable[[Revision], T], revision: Revision) -> T | None:
    """Reads part of a state, or notes that it is missing: the other parts can still be compared."""
    try:
        return read(revision)
    except UnavailableError as error:
        missing[revision] += error.paths
        return None


def _metrics(revision: Revision) -> dict[str, float]:
    """Returns all metrics or, if only those in git are available, the headline metrics."""
    detail = revision.read(DETAIL)
    if detail is not None:
        return dict(json.loads(detail))
    numbers = json.loads(revision.require(METRICS))
    return {NAMES[name]: value for name, value in numbers.items() if name in NAMES}


def _answers(revision: Revision) -> predictions.Predictions:
    return predictions.load_predictions(io.BytesIO(revision.require(PREDICTIONS)))


def _params(revision: Revision) -> dict[str, Any]:
    import yaml

    return by_dotted_name(yaml.safe_load(revision.require(PARAMS)) or {})


def _value_changes(before: dict[str, Any], after: dict[str, Any]) -> list[ValueChange]:
    return [
        ValueChange(name, *(yaml_text(values[name]) if name in values else "" for values in (before, after)))
        for name in {**before, **after}
        if before.get(name) != after.get(name) or (name in before) != (name in after)
    ]


def _sizes(revision: Revision) -> dict[str, tuple[int, str]]:
    """Returns (bytes, digest) of the stages' outputs, by path."""
    import yaml

    stages = (yaml.safe_load(revision.read(LOCK) or b"") or {}).get("stages", {})
    outs = [out for stage in stages.values() for out in stage.get("outs", [])]
    return {out["path"]: (out.get("size", 0), out.get("md5", "")) for out in outs}


def _size_changes(
    before: dict[str, tuple[int, str]], after: dict[str, tuple[int, str]]
) -> list[tuple[str, int | None, int | None]]:
    paths = [path for path in {**before, **after} if before.get(path) != after.get(path)]
    return [(path, before.get(path, (None,))[0], after.get(path, (None,))[0]) for path in paths]


def _model_digest(revision: Revision) -> str | None:
    content = revision.read(MODEL)
    return None if content is None else str(json.loads(content)["weights_sha256"])


def _time_changes(before: str | None, after: str | None) -> list[ValueChange]:
    """Returns the times of two models, by their digests; empty if MLflow does not have both.

    Raises:
        UserError: If MLflow is not available.
    """
    if before is None or after is None or before == after:
        return []
    found: list[dict[str, str]] = [{}, {}]
    for run in reversed(read_runs()):  # oldest first, so that the newest wins
        for times, digest in zip(found, (before, after), strict=True):
            if run.tags.get(MODEL_TAG) == digest:
                times |= {name: f"{run.metrics[name]:.3g}" for name in TIMES if name in run.metrics}
    return [
        ValueChange(title, *(times[name] for times in found))
        for name, title in TIMES.items()
        if all(name in times for times in found)
    ]
