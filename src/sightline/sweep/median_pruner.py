"""The median rule: a job ends if it is worse than half of all jobs were at the same epoch."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState


class MedianPruner(optuna.pruners.BasePruner):
    """Ends a job whose best value so far is worse than the median of all jobs at the same epoch.

    Optuna's own median pruner compares with completed jobs only. These are good ones, so the bar rises with each of
    them until hardly any job passes. Here a job that was pruned earlier counts as worse than any that continues.

    Args:
        warm_up: Number of first epochs in which no job is ended.
        fewest: Minimum number of jobs to compare with before one is ended.
    """

    def __init__(self, warm_up: int, fewest: int = 4) -> None:
        self._warm_up, self._fewest = warm_up, fewest

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Returns whether to end a job, after it has reported an epoch's value."""
        epoch = trial.last_step
        if epoch is None or epoch < self._warm_up:
            return False
        sign = 1.0 if study.direction == StudyDirection.MAXIMIZE else -1.0
        others = []
        for other in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)):
            if epoch in other.intermediate_values:
                others.append(_best(sign * value for step, value in other.intermediate_values.items() if step <= epoch))
            elif other.state == TrialState.PRUNED and other.last_step is not None and other.last_step < epoch:
                others.append(-math.inf)
        return len(others) >= self._fewest and (
            _best(sign * value for value in trial.intermediate_values.values()) < statistics.median(others)
        )


def _best(values: Iterable[float]) -> float:
    return max((value for value in values if not math.isnan(value)), default=-math.inf)
