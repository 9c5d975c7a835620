"""Adoption of the settings of a sweep's best job, or of any run, in params.yaml."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path

from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from sightline import tracking
from sightline.config.params import PARAMS, read
from sightline.core import files, git
from sightline.core.errors import UserError, ambiguous
from sightline.sweep import params_comments, params_edit, run_knobs
from sightline.sweep.job import JobFactory
from sightline.sweep.study_storage import open_storage, study_location
from sightline.tracking.find_run import FoundRun, NoRunError


def adopt(reference: str, place: int | None = None) -> Iterator[str]:
    """Writes a job's changes to params.yaml, and preserves its comments and quotes.

    Args:
        reference: A sweep's name or a prefix of it, a run's id or name, or the name of a DVC experiment.
        place: The job's rank in the sweep, from 1; None for the best.

    Yields:
        Lines about the changes and the next steps.

    Raises:
        UserError: If there is no such sweep or run, or no params.yaml.
    """
    read()  # fails if it is missing, before a store is opened
    trial = _find(reference, place)
    if isinstance(trial, FoundRun):
        yield from _take_over_run(trial)
        return
    text = PARAMS.read_text(encoding="utf-8")
    words = [str(word) for word in trial.user_attrs["words"]]
    yield from _write(text, params_edit.changed(text, words), reference, " ".join(words))
    if JobFactory().job(()).digest == (trial.user_attrs.get("training") or trial.user_attrs["digest"]):
        yield "dvc repro makes its model"
    else:
        yield "dvc repro makes a model; code, source or other settings have changed since, so that it may be another"


def _take_over_run(run: FoundRun) -> Iterator[str]:
    text = PARAMS.read_text(encoding="utf-8")
    new = run_knobs.adopted(text, run_knobs.settings_of(run))
    yield from _write(text, new.text, run.name, f"its settings, those of {run.name},")
    yield from (f"not adopted: {line}" for line in new.left)
    commit = run.tags.get(MLFLOW_GIT_COMMIT, "")
    code = [f"{folder}/" for folder in ("src", "pipeline", "conf") if Path(folder).is_dir()]
    differs = not code or not commit or run.tags.get("git.dirty") != "false" or not _same_code(commit, code)
    if differs or new.left:
        yield f"dvc repro makes a model with these settings; its code was that of {_origin(run)}"
    else:
        yield "dvc repro makes its model, from an unchanged source"


def _same_code(commit: str, code: Sequence[str]) -> bool:
    return git.stdout("diff", "--quiet", commit, "--", *code) is not None


def _origin(run: FoundRun) -> str:
    commit = run.tags.get(MLFLOW_GIT_COMMIT)
    if commit is None:
        return "no commit"
    return f"commit {commit[:9]}{'' if run.tags.get('git.dirty') == 'false' else ' with changes'}"


def take_over(words: Sequence[str]) -> Iterator[str]:
    """Writes changes to params.yaml, and preserves its comments and quotes.

    Args:
        words: Words of the command line, such as `train.lr=0.01`.

    Yields:
        Lines about the changes.
    """
    before = PARAMS.read_text(encoding="utf-8")
    yield from _write(before, params_edit.changed(before, words), None, " ".join(words))


def _write(before: str, after: str, source: str | None, settings: str) -> Iterator[str]:
    """Writes params.yaml; if `source` is given, comments with reasons for old values are updated."""
    if after == before:
        yield f"{PARAMS} already has {settings}"
    else:
        if source is not None:
            after = params_comments.remarked(before, after, source)
        files.write_text(PARAMS, after)
        lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
        yield from (
            f"{line[0]} {line[1:].strip()}" for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---")
        )


def _find(reference: str, place: int | None) -> FrozenTrial | FoundRun:
    storage = open_storage(study_location())
    studies = storage.get_all_studies()
    named = [study for study in studies if study.study_name.startswith(reference)]
    if len(named) == 1:
        done = storage.get_all_trials(named[0]._study_id, deepcopy=False, states=(TrialState.COMPLETE,))
        if not done:
            raise UserError(f"{reference}: no job of this sweep has succeeded")
        several = len(named[0].directions) > 1
        if several and place is None:
            raise UserError(
                f"{reference}: a sweep by several metrics has no best job; its page, reports/sweeps/"
                f"{named[0].study_name}.html, has their places: `sightline adopt {reference} --job 1`"
            )
        ranked = _ranked(done, named[0].directions)
        if not 1 <= (place or 1) <= len(ranked):
            raise UserError(f"{reference}: there is no job {place}, its ranking goes from 1 to {len(ranked)}")
        return ranked[(place or 1) - 1]
    if len(named) > 1:
        raise ambiguous(reference, "sweeps", [study.study_name for study in named])
    if place is not None:
        raise UserError(f"{reference}: --job needs the name of a sweep, which this is not")
    try:
        run = tracking.find_run(reference)
    except NoRunError:
        raise UserError(
            f"{reference}: no sweep or run has that name or id; `sightline runs` shows those there are"
        ) from None
    digest = run.tags.get(tracking.SWEEP_JOB_TAG)
    for study in studies:
        for trial in storage.get_all_trials(study._study_id, deepcopy=False):
            if digest is not None and trial.user_attrs.get("digest") == digest:
                return trial
    return run


def _ranked(done: Sequence[FrozenTrial], directions: Sequence[StudyDirection]) -> list[FrozenTrial]:
    """Returns finished jobs in the order of the sweep's ranking, without repeated digests."""
    jobs: dict[str, FrozenTrial] = {}
    for trial in done:
        jobs.setdefault(trial.user_attrs["digest"], trial)
    signs = [1 if direction == StudyDirection.MINIMIZE else -1 for direction in directions]
    return sorted(jobs.values(), key=lambda job: [s * value for s, value in zip(signs, job.values, strict=True)])
