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
"""The metrics of a training, and whether less or more of each is better."""
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
"""The sections after the data's and the training's, in the DAG's order, with what the stage measures."""
DIRECTIONS = TRAINED | {name: direction for names in LATER.values() for name, direction in names.items()}
"""The metrics of a job, and whether less or more of each is better."""
PER_EPOCH = ("val_loss", "val_accuracy")
"""Metrics that are known after every epoch, by which a job can be pruned."""
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(kw_only=True)
class SweepConfig:
    """The section `sweep` of the configuration.

    Attributes:
        metric: The number that jobs are judged by, one of `DIRECTIONS` or a list of several, which gives a Pareto
            front; null is `train.monitor`, or where knobs of a later stage are set the first that this one measures.
        n_trials: Most jobs; null is the whole grid.
        time: Time after which no job is begun and running ones are stopped, as `30m`, `2h`, `90s`; null is no limit.
        sampler: The choice of values: "grid", "random", "tpe", or "auto": the grid where there is one, else tpe.
        pruner: The rule that ends a job worse than others were after as many epochs: "none", "median", "hyperband".
        seed: Of the sampler.
        jobs: Jobs side by side.
        executor: The place where they run.
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
        """The metrics that are set."""
        return [self.metric] if isinstance(self.metric, str) else list(self.metric or [])

    @property
    def seconds(self) -> float | None:
        """The time limit in seconds; None without one."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", self.time or "")
        return float(match[1]) * _UNITS[match[2]] if match else None
