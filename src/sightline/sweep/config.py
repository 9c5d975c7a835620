"""The schema of the sweep section; imports nothing heavy."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from sightline.config.schema import Option, choice, require, require_one_of
from sightline.sweep.options import EXECUTORS

SAMPLERS = ("auto", "grid", "random", "tpe")
PRUNERS = ("none", "median", "hyperband")
TRAINED = {
    "val_loss": "minimize",
    "val_accuracy": "maximize",
    "megabytes": "minimize",
    "latency_ms": "minimize",
    "seconds": "minimize",
}
"""The metrics of a training, and whether each is minimised or maximised."""
LATER = {
    "baseline": {"baseline_accuracy": "maximize"},
    "evaluate": {
        "test_log_loss": "minimize",
        "test_accuracy": "maximize",
        "test_bal_acc": "maximize",
        "test_ece": "minimize",
        "test_mce": "minimize",
        "test_worst": "maximize",
    },
    "export": {"bundle_megabytes": "minimize", "bundle_latency_ms": "minimize"},
    "promote": {"promote_objections": "minimize"},
}
"""The sections after data and training, in the order of the DAG, with the metrics of their stages."""
DIRECTIONS = TRAINED | {name: direction for names in LATER.values() for name, direction in names.items()}
"""All metrics of a job, and whether each is minimised or maximised."""
PER_EPOCH = ("val_loss", "val_accuracy")
"""Metrics that are known after every epoch, and can thus be used for pruning."""
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(kw_only=True)
class SweepConfig:
    """The section `sweep` of the configuration.

    Attributes:
        metric: The metric that jobs are ranked by, one of `DIRECTIONS`, or a list of several for a Pareto front; null
            for `train.monitor`, or the first metric of the last stage with settings on the command line.
        n_trials: Maximum number of jobs; null for the whole grid.
        time: Time limit, such as `30m`, `2h` or `90s`, after which no job is started and running ones are stopped; null
            for no limit.
        sampler: Method of choosing values: "grid", "random", "tpe", or "auto" (the grid if there is one, else tpe).
        pruner: Rule for ending jobs that are worse than others at the same epoch: "none", "median" or "hyperband".
        seed: Seed of the sampler.
        jobs: Number of parallel jobs.
        executor: The executor that runs them.
    """

    metric: Any
    n_trials: int | None
    time: str | None
    sampler: str
    pruner: str
    seed: int
    jobs: int
    executor: Option = choice(EXECUTORS)

    def __post_init__(self) -> None:
        names = self.named
        for name in names:
            require_one_of("metric", str(name), tuple(DIRECTIONS))
        require(len(set(names)) == len(names), f"metric: {names} names one twice")
        require(self.n_trials is None or self.n_trials >= 1, f"n_trials: must be at least 1, not {self.n_trials}")
        require(self.time is None or bool(self.seconds), f"time: {self.time!r} is not of the form 30m, 2h or 90s")
        require_one_of("sampler", self.sampler, SAMPLERS)
        require_one_of("pruner", self.pruner, PRUNERS)
        require(self.seed >= 0, f"seed: must be at least 0, not {self.seed}")
        require(self.jobs >= 1, f"jobs: must be at least 1, not {self.jobs}")
        prunable = len(names) <= 1 and set(names) <= set(PER_EPOCH)
        require(
            self.pruner == "none" or prunable,
            f"pruner: {self.pruner} needs one metric that is known after every epoch: {' or '.join(PER_EPOCH)}",
        )

    @property
    def named(self) -> list[str]:
        """The configured metrics."""
        return [self.metric] if isinstance(self.metric, str) else list(self.metric or [])

    @property
    def seconds(self) -> float | None:
        """The time limit in seconds; None if there is none."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", self.time or "")
        return float(match[1]) * _UNITS[match[2]] if match else None
