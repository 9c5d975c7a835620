"""A run as MLflow keeps it, read without MLflow where that is possible."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sightline.core.errors import UserError, ambiguous

PARENT_TAG = "mlflow.parentRunId"
EXPERIMENT_TAG = "dvc.exp_name"
SWEEP_TAG = "sightline.sweep"
COMMIT_TAG = "mlflow.source.git.commit"
MODEL_TAG = "sightline.model_sha256"
SETTINGS = ("config/train.json", "config/baseline.json")
"""The artifacts that hold all settings of a run."""
_SHORTEST = 4  # characters of an id's beginning


@dataclass(frozen=True)
class RunRecord:
    """A run.

    Attributes:
        id: Its id, 32 hexadecimal digits.
        name: Its name.
        status: RUNNING, FINISHED, FAILED or KILLED.
        start_time: Its beginning, in milliseconds since 1970.
        artifacts: The address of its artifacts.
        metrics: The last value of each metric.
        params: Its parameters.
        tags: Its tags.
    """

    id: str
    name: str
    status: str
    start_time: int
    artifacts: str
    metrics: Mapping[str, float]
    params: Mapping[str, str]
    tags: Mapping[str, str]

    @property
    def parent(self) -> str | None:
        """The id of its sweep's run; None if it is not a job of a sweep."""
        return self.tags.get(PARENT_TAG)

    def value(self, key: str) -> float | str | None:
        """Returns a column's value: an attribute of the run, a metric, a parameter or a tag, whichever is found first.

        A parameter may be named by its last parts: `lr` is `train.lr`, `model` is `train.model.name`.
        """
        if key in ("id", "name", "status"):
            return str(getattr(self, key))
        for values in (self.metrics, self.params, self.tags):
            if key in values:
                return values[key]
        ends = (f".{key}", f".{key}.name")
        found = sorted((name for name in self.params if name.endswith(ends)), key=lambda name: "train" not in name)
        return self.params[found[0]] if found else None

    def settings(self) -> Mapping[str, str]:
        """Returns all its settings if the file with them is on this machine; else its parameters."""
        folder = Path(self.artifacts.removeprefix("file://"))
        for name in SETTINGS:
            if (folder / name).is_file():
                return dict(json.loads((folder / name).read_bytes()))
        return self.params


def matching_run(runs: list[RunRecord], reference: str) -> RunRecord:
    """Returns the run that a reference identifies; if there are several, the newest.

    Args:
        runs: Runs, the newest first.
        reference: A run's id or a prefix of it, its name, or the name of its DVC experiment.

    Raises:
        UserError: If there is none, or the prefix is ambiguous.
    """
    for run in runs:
        if reference in (run.id, run.name, run.tags.get(EXPERIMENT_TAG)):
            return run
    begun = [run for run in runs if len(reference) >= _SHORTEST and run.id.startswith(reference)]
    if len(begun) > 1:
        raise ambiguous(reference, "runs", [run.id for run in begun])
    if not begun:
        raise UserError(f"{reference}: no run of that id or name; `sightline runs` shows those there are")
    return begun[0]
