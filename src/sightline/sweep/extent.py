"""The extent of a sweep's jobs: the last stage that they run, which follows from the knobs and the metrics."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sightline.core.errors import ConfigError
from sightline.sweep.config import LATER, TRAINED

_BEFORE = {
    "train": ("ingest", "preprocess", "train"),
    "baseline": ("ingest", "preprocess", "baseline"),
    "evaluate": ("ingest", "preprocess", "train", "baseline", "evaluate"),
    "export": ("ingest", "preprocess", "train", "baseline", "evaluate", "export"),
    "promote": ("ingest", "preprocess", "train", "baseline", "evaluate", "export", "promote"),
}
"""The sections that a stage's result depends on, in the order of the DAG."""


@dataclass(frozen=True)
class SweepExtent:
    """The extent of jobs.

    Attributes:
        stage: The last stage: "train", or one of `LATER`.
        trains: Whether a network is trained; not if only baselines are.
    """

    stage: str = "train"
    trains: bool = True

    @property
    def later(self) -> bool:
        """Whether a stage other than training runs after preprocessing."""
        return self.stage != "train"

    @property
    def sections(self) -> tuple[str, ...]:
        """The sections that a job's result depends on, in the order of the DAG."""
        before = _BEFORE[self.stage]
        return tuple(name for name in _BEFORE["promote"] if name in before or (name == "train" and self.trains))

    @property
    def scripts(self) -> tuple[str, ...]:
        """The stage scripts that a job runs; `promote` is a command rather than a stage."""
        return tuple(f"pipeline.{section}" for section in self.sections if section != "promote")


def extent(sections: Collection[str], metrics: Sequence[str]) -> tuple[SweepExtent, list[str]]:
    """Returns the extent of the jobs, and the metrics that they are ranked by.

    Args:
        sections: Sections with settings on the command line.
        metrics: `sweep.metric` as a list; empty if it is not set.

    Returns:
        The extent, and the metrics: the given ones, or else the last stage's first; empty for `train.monitor`.

    Raises:
        ConfigError: If a section on the command line cannot affect the metrics.
    """
    stages = ["train", *LATER]
    owners = {metric: stage for stage, names in LATER.items() for metric in names}
    asked = max((stages.index(section) for section in sections if section in LATER), default=0)
    if not metrics and asked:
        metrics = [next(iter(LATER[stages[asked]]))]
    measured = max((stages.index(owners.get(metric, "train")) for metric in metrics), default=0)
    if asked > measured:
        names = [metric for stage in stages[asked:] for metric in LATER[stage]]
        raise ConfigError(
            f"sweep.metric: {', '.join(metrics)} does not depend on any setting of {stages[asked]}; name one of "
            f"{', '.join(names)}"
        )
    stage = stages[measured]
    trains = stage != "baseline" or any(metric in TRAINED for metric in metrics) or "train" in sections
    return SweepExtent(stage, trains), list(metrics)
