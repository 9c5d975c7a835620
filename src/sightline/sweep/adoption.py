"""A job's changes taken over into params.yaml: those of a sweep's best, or of a run."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

from optuna.trial import FrozenTrial, TrialState

from sightline import tracking
from sightline.config.params import PARAMS
from sightline.core import files
from sightline.core.errors import UserError
from sightline.sweep import params_edit
from sightline.sweep.job import JobFactory
from sightline.sweep.study import open_storage, study_location


def adopt(reference: str) -> Iterator[str]:
    """Writes a job's changes into params.yaml, with its comments and quotes as they are.

    Args:
        reference: A sweep's name, or the beginning of one; or a job's run, by id or name.

    Yields:
        Lines that say what has changed, and what to do next.

    Raises:
        UserError: If there is no such sweep or job.
    """
    trial = _find(reference)
    yield from take_over([str(word) for word in trial.user_attrs["words"]])
    if JobFactory().job(()).digest == (trial.user_attrs.get("training") or trial.user_attrs["digest"]):
        yield "dvc repro makes its model"
    else:
        yield "dvc repro makes a model; code, source or other settings have changed since, so that it may be another"


def take_over(words: Sequence[str]) -> Iterator[str]:
    """Writes changes into params.yaml, with its comments and quotes as they are.

    Args:
        words: Words of the command line, `train.lr=0.01`.

    Yields:
        Lines that say what has changed.
    """
    before = PARAMS.read_text(encoding="utf-8")
    after = params_edit.changed(before, words)
    if after == before:
        yield f"{PARAMS} has {' '.join(words)} already"
    else:
        files.write_text(PARAMS, after)
        lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
        yield from (
            f"{line[0]} {line[1:].strip()}" for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---")
        )


def _find(reference: str) -> FrozenTrial:
    storage = open_storage(study_location())
    studies = storage.get_all_studies()
    named = [study for study in studies if study.study_name.startswith(reference)]
    if len(named) == 1:
        done = storage.get_all_trials(named[0]._study_id, deepcopy=False, states=(TrialState.COMPLETE,))
        if not done:
            raise UserError(f"{reference}: no job of this sweep has ended well")
        if len(named[0].directions) > 1:
            raise UserError(f"{reference}: a sweep by several metrics has no best job; name one by its run in MLflow")
        sign = 1 if named[0].directions[0].name.lower() == "minimize" else -1
        return min(done, key=lambda trial: sign * float(trial.value or 0.0))
    if len(named) > 1:
        raise UserError(f"{reference}: several sweeps begin so: {', '.join(study.study_name for study in named[:5])}")
    try:
        run = tracking.find_run(reference)
    except UserError as error:
        raise UserError(f"{reference}: no sweep's name begins so; as a run, {error}") from None
    client, _ = tracking.connect()
    digest = client.get_run(run.id).data.tags.get(tracking.SWEEP_JOB_TAG)
    for study in studies:
        for trial in storage.get_all_trials(study._study_id, deepcopy=False):
            if digest is not None and trial.user_attrs.get("digest") == digest:
                return trial
    raise UserError(f"{reference}: no job of a sweep that is known here; its settings are its run's parameters")
