"""The search over a new project's doubtful choices: short training runs compared on its validation images."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sightline.config.params import PARAMS
from sightline.core import files
from sightline.core.errors import UserError
from sightline.datasets import predictions
from sightline.metrics import paired
from sightline.project_setup import scaffold
from sightline.project_setup.choice import Choice, Doubt
from sightline.project_setup.project_plan import ProjectPlan
from sightline.sweep import adoption, command, params_comments
from sightline.sweep.job_models import JOBS
from sightline.sweep.session import SweepOutcome

MOST = 3
"""Choices that are tried of the first network, each with one other value: eight trainings."""
MOST_OTHER = 1
"""Of the other network, one that is not tried of the first: two trainings."""
SHORTER = 3
"""Factor by which training runs are shorter than the project's own."""
LEAST_EPOCHS = 5
_NETWORK = "train.model"
_OF_IMAGES_AND_TRAINING = ("preprocess.", "train.")


@dataclass(frozen=True)
class NetworkSweep:
    """Settings of one network, with what is doubtful of them: one sweep.

    Attributes:
        changes: Settings other than the project's params.yaml, by key; all keys of other networks.
        network: Its name.
        doubts: The doubtful settings by key: the choice, and what might be better.
        epochs: Of each training.
    """

    changes: Mapping[str, Choice]
    network: str
    doubts: Mapping[str, tuple[Choice, Doubt]]
    epochs: int

    @classmethod
    def of(cls, chosen: Mapping[str, Choice], changes: Mapping[str, Choice], most: int) -> NetworkSweep:
        """Returns a network's settings with the first doubtful ones of them."""
        doubtful = [
            (key, (choice, choice.doubt))
            for key, choice in chosen.items()
            if choice.doubt is not None and key != _NETWORK
        ]
        epochs = int(chosen["train.max_epochs"].value)
        short = min(epochs, max(LEAST_EPOCHS, round(epochs / SHORTER)))
        return cls(changes, str(chosen[_NETWORK].value), dict(doubtful[:most]), short)

    @property
    def words(self) -> list[str]:
        """The sweep's command line."""
        knobs = [f"{key}={choice.value},{doubt.other}" for key, (choice, doubt) in self.doubts.items()]
        tried = self.doubts.keys() | {"train.max_epochs", "train.patience"}
        fixed = [
            word
            for key, choice in self.changes.items()
            if key.startswith(_OF_IMAGES_AND_TRAINING) and key not in tried
            for word in search_words(key, choice.value)
        ]
        if not knobs:
            knobs = [f"{_NETWORK}=choice({self.network})"]
            fixed = [word for word in fixed if not word.startswith(f"{_NETWORK}=")]
        short = [f"train.max_epochs={self.epochs}", f"train.patience={self.epochs}"]
        return ["-m", *knobs, *fixed, *short, "sweep.metric=val_accuracy"]


def search_words(key: str, value: Any) -> list[str]:
    """Returns a setting as words of the command line; of an option's own settings, one for each.

    >>> words("train.model", "cnn"), words("train.model_options", {"weights": "package"})
    (['train.model=cnn'], ['++train.model_options.weights=package'])
    """
    if isinstance(value, Mapping):
        return [f"++{key}.{name}={child}" for name, child in value.items()]
    if isinstance(value, list):
        return [f"{key}=[{','.join(map(str, value))}]"]
    return [f"{key}={value}"]


@dataclass(frozen=True)
class DoubtSearch:
    """The candidates that a search tries.

    Attributes:
        sweeps: The network that the rules chose, then the other one, if that choice is doubtful.
        doubt: Of the network.
        chosen: The choices of the rules, by key.
    """

    sweeps: Sequence[NetworkSweep]
    doubt: Doubt | None
    chosen: Mapping[str, Choice]

    @classmethod
    def of(cls, plan: ProjectPlan) -> DoubtSearch:
        """Returns the search over the first doubtful choices of a plan."""
        doubt = plan.chosen[_NETWORK].doubt
        sweeps = [NetworkSweep.of(plan.chosen, {}, MOST)]
        if doubt is not None:
            other = plan.instead(_NETWORK, doubt.other)
            changes = {key: choice for key, choice in other.items() if choice.value != plan.chosen[key].value}
            new = {key: choice for key, choice in other.items() if key not in sweeps[0].doubts}
            sweeps.append(NetworkSweep.of(new, changes, MOST_OTHER))
        elif not sweeps[0].doubts:
            sweeps = []
        return cls(sweeps, doubt, plan.chosen)

    def lines(self) -> list[str]:
        """Returns a human-readable description."""
        network = [f"to try: {_NETWORK}={self.doubt.other}: {self.doubt.reason}"] if self.doubt else []
        return network + [
            f"to try: {key}={doubt.other}{f' of {each.network}' if each.changes else ''}: {doubt.reason}"
            for each in self.sweeps
            for key, (_, doubt) in each.doubts.items()
        ]

    def command(self, folder: Path) -> str:
        """Returns the command that resumes the search after an interruption."""
        sweeps = [f"python -m sightline.stages sweep {shlex.join(each.words)}" for each in self.sweeps]
        return " && ".join([f"cd {shlex.quote(str(folder))}", *sweeps])


@dataclass(frozen=True)
class SearchVerdict:
    """The outcome of a search.

    Attributes:
        changes: Words that write what won into params.yaml; none where the first choices stay.
        comments: Comments for the lines of what was tried, by key.
        summary: The outcome in a sentence.
    """

    changes: Sequence[str]
    comments: Mapping[str, str]
    summary: str


def run_search(search: DoubtSearch, folder: Path) -> Iterator[str]:
    """Runs a search in a new project, writes the winner into its params.yaml, and commits it.

    Yields:
        Lines that describe the outcome.

    Raises:
        UserError: If a training run failed; the project is unchanged.
        KeyboardInterrupt: If it is interrupted; the project is unchanged.
    """
    with contextlib.chdir(folder):
        outcomes = []
        for tried in search.sweeps:
            outcome = command.sweep(tried.words, advice=False)
            if outcome.failed:
                raise UserError(f"{len(outcome.failed)} of its trainings failed, the first: {outcome.failed[0]}")
            outcomes.append(outcome)
        verdict = compare_winner(search, outcomes)
        yield verdict.summary
        if verdict.changes:
            yield from adoption.take_over(verdict.changes)
        files.write_text(PARAMS, params_comments.commented(PARAMS.read_text(encoding="utf-8"), verdict.comments))
        yield from scaffold.commit(Path(), f"Try the uncertain choices\n\n{verdict.summary}")


def compare_winner(search: DoubtSearch, outcomes: Sequence[SweepOutcome]) -> SearchVerdict:
    """Compares the best job with that of the first choices, paired by image.

    A job wins only if it is significantly better on the validation images (paired 95 % score interval).

    Args:
        search: The candidates that were tried.
        outcomes: Of its sweeps, none of which was a failure.
    """
    first = _first_job(search.sweeps[0], outcomes[0])
    at = max(range(len(outcomes)), key=lambda n: (outcomes[n].ranked[0].job.result["val_accuracy"], -n))
    tried, best = search.sweeps[at], outcomes[at].ranked[0].job.digest
    settings = _values(outcomes[at].words[best])
    answers = {digest: predictions.load_predictions(JOBS / digest / "answers.parquet") for digest in (first, best)}
    gain, low, high = paired.difference(answers[best].correct, answers[first].correct)
    won = {key: value for key, (choice, _) in tried.doubts.items() if (value := settings[key]) != str(choice.value)}
    named = {**({_NETWORK: tried.network} if at else {}), **won}
    summary = _summary(search, outcomes, answers[first], answers[best], (gain, low, high), named)
    if not low > 0:
        return SearchVerdict([], _comments(search, search.sweeps[0], {}, summary), summary)
    changes = [
        word for key, choice in tried.changes.items() if key not in won for word in search_words(key, choice.value)
    ]
    changes += [f"{key}={value}" for key, value in won.items()]
    return SearchVerdict(changes, _comments(search, tried, won, summary), summary)


def _values(changes: Sequence[str]) -> dict[str, str]:
    """Returns a job's changes by key."""
    parts = [word.lstrip("+").partition("=") for word in changes]
    return {key: value for key, _, value in parts}


def _first_job(tried: NetworkSweep, outcome: SweepOutcome) -> str:
    """Returns the digest of the job that has the rules' own choices."""
    wanted = {key: str(choice.value) for key, (choice, _) in tried.doubts.items()}
    return next(digest for digest, its in outcome.words.items() if wanted.items() <= _values(its).items())


def _summary(
    search: DoubtSearch,
    outcomes: Sequence[SweepOutcome],
    first: predictions.Predictions,
    best: predictions.Predictions,
    difference: tuple[float, float, float],
    won: Mapping[str, str],
) -> str:
    gain, low, high = difference
    lengths = " and ".join(str(epochs) for epochs in dict.fromkeys(each.epochs for each in search.sweeps))
    many = (
        f"of {sum(len(each.ranked) for each in outcomes)} trainings of {lengths} epoch{'s' if lengths != '1' else ''}"
    )
    images = f"{len(first.ids)} validation images"
    if not gain > 0:
        return f"none {many} is better than the first choice ({first.correct.mean():.3f} on {images})"
    by = f"{' '.join(f'{key}={value}' for key, value in won.items())} is right on {best.correct.mean():.3f}, the first "
    by += f"choice on {first.correct.mean():.3f}: {gain:+.3f} ({low:+.3f} to {high:+.3f}) on {images}"
    return (
        f"the best {many}: {by}"
        if low > 0
        else f"the best {many} may be better by chance only, and the first choice stays: {by}"
    )


def _comments(search: DoubtSearch, winner: NetworkSweep, won: Mapping[str, str], summary: str) -> dict[str, str]:
    """Returns the comments of all that was tried or has changed."""
    comments = {key: choice.reason for key, choice in winner.changes.items()}
    if search.doubt is not None:
        before = search.chosen[_NETWORK]
        is_other = winner is not search.sweeps[0]
        comments[_NETWORK] = (
            f"tried, {before.value} before; {summary}"
            if is_other
            else f"{before.reason}; tried {search.doubt.other}: {summary}"
        )
    for key, (choice, doubt) in winner.doubts.items():
        comments[key] = (
            f"tried, {choice.value} before; {summary}"
            if key in won
            else f"{choice.reason}; tried {doubt.other}: {summary}"
        )
    return comments
