"""The study of a sweep: its jobs as Optuna trials, in a file of the project or a database shared by machines."""

from __future__ import annotations

import contextlib
import math
import platform
import time
import warnings
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightline.core.errors import not_installed
from sightline.sweep.config import DIRECTIONS

try:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.trial import FrozenTrial, TrialState
except ModuleNotFoundError as missing:
    raise not_installed(missing.name, "sweep") from None

from sightline.sweep.median_pruner import MedianPruner

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.storages import BaseStorage

HEARTBEAT = 20.0
SILENCE = 120.0
"""Seconds without a heartbeat after which a machine is considered dead."""

optuna.logging.set_verbosity(optuna.logging.WARNING)


def pruner_named(name: str, epochs: int) -> optuna.pruners.BasePruner:
    """Returns a pruner.

    Args:
        name: The value of `sweep.pruner`.
        epochs: Maximum number of epochs of a job.
    """
    if name == "median":
        # No job is pruned in the first quarter of its epochs, when batch norm statistics are still unreliable.
        return MedianPruner(warm_up=epochs // 4)
    if name == "hyperband":
        return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=epochs, reduction_factor=3)
    return optuna.pruners.NopPruner()


def _sampler(name: str, seed: int, jobs: int | None, one_metric: bool) -> optuna.samplers.BaseSampler:
    """Returns the sampler for the arguments of `SweepStudy`."""
    if name != "tpe":
        return optuna.samplers.RandomSampler(seed=seed)
    # Optuna's default of 10 random trials would be nearly all of a small sweep.
    at_random = 10 if jobs is None else min(10, max(4, jobs // 4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # `multivariate`, before Optuna 5
        return optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=at_random, multivariate=one_metric, constant_liar=True
        )


class SweepStudy:
    """A sweep's trials.

    Args:
        storage: The storage of studies.
        name: The sweep's name.
        metrics: The metrics that jobs are ranked by.
        distributions: The knobs.
        sampler: "grid", "random" or "tpe".
        seed: Seed of the sampler.
        jobs: Maximum number of jobs; None if only the time is limited.
    """

    def __init__(
        self,
        storage: BaseStorage,
        name: str,
        metrics: Sequence[str],
        distributions: Mapping[str, BaseDistribution],
        sampler: str,
        seed: int,
        jobs: int | None = None,
    ) -> None:
        self.name, self.metrics, self._distributions = name, list(metrics), dict(distributions)
        self._storage = storage
        directions: Any = [DIRECTIONS[metric] for metric in metrics]
        with contextlib.suppress(optuna.exceptions.DuplicatedStudyError):
            optuna.create_study(study_name=name, storage=storage, directions=directions)
        self._study = optuna.load_study(study_name=name, storage=storage)
        self.owner = f"{platform.node()}:{Path.cwd()}"
        # A resumed study must not draw the same numbers again, nor those of another machine.
        seed += len(self.trials())
        if not isinstance(storage, JournalStorage):
            seed += zlib.crc32(self.owner.encode()) % 2**31
        self._study.sampler = _sampler(sampler, seed, jobs, one_metric=len(metrics) == 1)
        self._beat = 0.0

    @property
    def study(self) -> optuna.Study:
        """The Optuna study."""
        return self._study

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """Returns the trials in some states, or all, without duplicates and surplus ones from several machines."""
        found = self._study.get_trials(deepcopy=False, states=states or None)
        return [trial for trial in found if not {"duplicate", "surplus"} & set(trial.user_attrs)]

    def finished(self) -> list[FrozenTrial]:
        """Returns the completed and pruned trials."""
        return self.trials(TrialState.COMPLETE, TrialState.PRUNED)

    def ended(self, but: Collection[int] = (), until: float = math.inf) -> int:
        """Returns the number of jobs that have completed, were pruned or failed, on all machines.

        Args:
            but: Numbers of trials that failed in earlier sessions, which are not counted.
            until: Only trials with smaller numbers are counted.
        """
        failed = [t for t in self.trials(TrialState.FAIL) if not ("stopped" in t.user_attrs or t.number in but)]
        return sum(trial.number < until for trial in (*self.finished(), *failed))

    def bury(self) -> list[dict[str, Any]]:
        """Ends running trials that no process is working on.

        A project runs only one sweep of a name at a time. With a file, all running trials are therefore dead; with a
        shared database, those of this project and those of machines without a heartbeat are.

        Returns:
            Their values.
        """
        values = []
        for trial in self.trials(TrialState.RUNNING):
            own = trial.user_attrs.get("owner") == self.owner
            if own or self._silent(trial) or isinstance(self._storage, JournalStorage):
                self._storage.set_trial_user_attr(trial._trial_id, "stopped", True)
                self._study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
                values.append(trial.params)
        return values

    def enqueue(self, values: Mapping[str, Any]) -> None:
        """Enqueues a job."""
        self._study.enqueue_trial(dict(values))

    def waiting(self) -> int:
        """Returns the number of enqueued jobs."""
        return len(self.trials(TrialState.WAITING))

    def ask(self) -> optuna.Trial:
        """Returns the next trial."""
        trial = self._study.ask(self._distributions)
        trial.set_user_attr("owner", self.owner)
        trial.set_user_attr("beat", time.time())
        return trial

    def tell(self, trial: optuna.Trial, state: TrialState, result: Mapping[str, float], **notes: Any) -> None:
        """Ends a trial.

        Args:
            trial: The trial.
            state: Its final state.
            result: Its metrics, if it is complete.
            notes: Further attributes to record.
        """
        for name, value in {**notes, "result": dict(result)}.items():
            trial.set_user_attr(name, value)
        values = [result[metric] for metric in self.metrics] if state == TrialState.COMPLETE else None
        self._study.tell(trial, values, state=state)

    def importances(self) -> dict[str, float]:
        """Returns each knob's share of the variance of the first metric, from functional ANOVA.

        It is empty if there are too few jobs, or only one knob, which would explain all of the variance.
        """
        done = self.trials(TrialState.COMPLETE)
        if len(self._distributions) == 1 or len(done) < max(4, 2 * len(self._distributions)):
            return {}
        numbered = optuna.create_study()
        numbered.add_trials([_numbered(trial) for trial in done])
        try:
            return optuna.importance.get_param_importances(
                numbered, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0)
            )
        except RuntimeError:  # all jobs have the same result
            return {}

    def claim(self, trial: optuna.Trial, digest: str) -> FrozenTrial | None:
        """Claims a job for a trial, unless another trial of this study is running it or has completed it.

        If several machines start trials with the same digest simultaneously, exactly one gets the job: that with the
        lowest number. Each trial first publishes its digest and then looks for others; it waits for trials with lower
        numbers that have not yet published theirs. Later trials have higher numbers, since they are started in order.

        Returns:
            The trial that has the job; None if this trial has claimed it.
        """
        trial.set_user_attr("digest", digest)
        while True:
            others = self.trials(TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED)
            before = [t for t in others if t.state == TrialState.RUNNING and t.number < trial.number]
            if all("digest" in t.user_attrs or self._silent(t) for t in before):
                break
            time.sleep(0.05)
        same = [t for t in others if t.number != trial.number and t.user_attrs.get("digest") == digest]
        found = [t for t in same if t.state != TrialState.RUNNING or t in before]
        return min(found, key=lambda other: (other.state == TrialState.RUNNING, other.number), default=None)

    def elsewhere(self) -> int:
        """Returns the number of jobs that are running on other machines, without machines that are considered dead."""
        running = self.trials(TrialState.RUNNING)
        return sum(t.user_attrs.get("owner") != self.owner and not self._silent(t) for t in running)

    def _silent(self, trial: FrozenTrial) -> bool:
        """Returns whether the last heartbeat of a trial's machine is too old."""
        started = trial.datetime_start.timestamp() if trial.datetime_start else 0.0
        return bool(time.time() - trial.user_attrs.get("beat", started) > SILENCE)

    def beat(self, running: Sequence[optuna.Trial]) -> None:
        """Periodically records a heartbeat of the running jobs, for other machines."""
        if time.monotonic() - self._beat > HEARTBEAT:
            self._beat = time.monotonic()
            for trial in running:
                trial.set_user_attr("beat", time.time())


def _numbered(trial: FrozenTrial) -> FrozenTrial:
    """Returns a trial with categorical values replaced by their indices, since one-hot columns would take minutes."""
    params, distributions = dict(trial.params), dict(trial.distributions)
    for key, distribution in trial.distributions.items():
        if isinstance(distribution, optuna.distributions.CategoricalDistribution):
            params[key] = distribution.choices.index(trial.params[key])
            distributions[key] = optuna.distributions.IntDistribution(0, len(distribution.choices) - 1)
    return optuna.trial.create_trial(params=params, distributions=distributions, value=trial.values[0])


def known_results(storage: BaseStorage) -> Iterator[tuple[str, str, dict[str, float]]]:
    """Yields (digest, name of the sweep, result) of every finished job of every sweep."""
    for study in storage.get_all_studies():
        for trial in storage.get_all_trials(study._study_id, deepcopy=False, states=(TrialState.COMPLETE,)):
            digest, result = trial.user_attrs.get("digest"), trial.user_attrs.get("result")
            if digest and result:
                yield digest, study.study_name, result
