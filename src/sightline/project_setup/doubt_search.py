"""The search over a new project's doubtful choices: short trainings, judged on its validation images."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sightline.config.params import PARAMS
from sightline.core import files
from sightline.core.errors import UserError
from sightline.datasets import predictions
from sightline.metrics import paired
from sightline.project_setup import params_file, scaffold
from sightline.project_setup.rules import Choice, Doubt
from sightline.sweep import adoption, command
from sightline.sweep.job_models import JOBS
from sightline.sweep.session import SweepOutcome

MOST = 3
"""Choices that are tried, each with one other value: eight trainings."""
SHORTER = 3
"""By how much trainings are shorter than the project's own."""
LEAST_EPOCHS = 5


@dataclass(frozen=True)
class DoubtSearch:
    """What is tried.

    Attributes:
        doubts: The doubtful settings by key: the choice, and what might be better.
        epochs: Of each training.
    """

    doubts: Mapping[str, tuple[Choice, Doubt]]
    epochs: int

    @classmethod
    def of(cls, chosen: Mapping[str, Choice]) -> DoubtSearch:
        """Returns the search over the first doubtful ones of some choices."""
        doubtful = [(key, (choice, choice.doubt)) for key, choice in chosen.items() if choice.doubt is not None]
        epochs = int(chosen["train.max_epochs"].value)
        return cls(dict(doubtful[:MOST]), min(epochs, max(LEAST_EPOCHS, round(epochs / SHORTER))))

    @property
    def words(self) -> list[str]:
        """The sweep's command line."""
        knobs = [f"{key}={choice.value},{doubt.other}" for key, (choice, doubt) in self.doubts.items()]
        short = [f"train.max_epochs={self.epochs}", f"train.patience={self.epochs}"]
        return ["-m", *knobs, *short, "sweep.metric=val_accuracy"]

    def lines(self) -> list[str]:
        """Returns it as a person reads it."""
        return [f"to try: {key}={doubt.other}: {doubt.reason}" for key, (_, doubt) in self.doubts.items()]

    def command(self, folder: Path) -> str:
        """Returns what goes on with it, where it was cut off."""
        return f"cd {shlex.quote(str(folder))} && python -m sightline.stages sweep {shlex.join(self.words)}"


@dataclass(frozen=True)
class SearchVerdict:
    """What came of it.

    Attributes:
        changes: Words that write what won into params.yaml; none where the first choices stay.
        comments: Comments for the lines of what was tried, by key.
        summary: The outcome in a sentence.
    """

    changes: Sequence[str]
    comments: Mapping[str, str]
    summary: str


def run(search: DoubtSearch, folder: Path) -> Iterator[str]:
    """Runs a search in a new project, writes what won into its params.yaml, and commits it.

    Yields:
        Lines that say what came of it.

    Raises:
        UserError: If a training failed; the project is as it was.
        KeyboardInterrupt: When it is interrupted; the same.
    """
    with contextlib.chdir(folder):
        outcome = command.sweep(search.words, advice=False)
        if outcome.failed:
            raise UserError(f"{len(outcome.failed)} of its trainings failed, the first: {outcome.failed[0]}")
        verdict = judge(search, outcome)
        yield verdict.summary
        if verdict.changes:
            yield from adoption.take_over(verdict.changes)
        files.write_text(PARAMS, params_file.commented(PARAMS.read_text(encoding="utf-8"), verdict.comments))
        yield from scaffold.commit(Path(), f"Doubtful choices are tried\n\n{verdict.summary}")


def judge(search: DoubtSearch, outcome: SweepOutcome) -> SearchVerdict:
    """Holds the best job against that of the first choices, image by image.

    What the validation images cannot tell from the first choices (the paired 95 % score interval) does not win.

    Args:
        search: What was tried.
        outcome: Of its sweep, which was no failure.
    """
    values = {
        digest: {key: word.partition("=")[2] for word in words for key in [word.lstrip("+").partition("=")[0]]}
        for digest, words in outcome.words.items()
    }
    chosen = {key: str(choice.value) for key, (choice, _) in search.doubts.items()}
    first = next(digest for digest, its in values.items() if chosen.items() <= its.items())
    best = outcome.ranked[0].job.digest
    answers = {digest: predictions.read(JOBS / digest / "answers.parquet") for digest in (first, best)}
    gain, low, high = paired.difference(answers[best].correct, answers[first].correct)
    won = {key: values[best][key] for key in chosen if values[best][key] != chosen[key]}
    epochs = f"{search.epochs} epoch{'s' if search.epochs > 1 else ''}"
    many = f"of {len(outcome.ranked)} trainings of {epochs}"
    images = f"{len(answers[first].ids)} validation images"
    accuracy = {digest: f"{answer.correct.mean():.3f}" for digest, answer in answers.items()}
    words = " ".join(f"{key}={value}" for key, value in won.items())
    by = f"{words} is right on {accuracy[best]}, the first choice on {accuracy[first]}: {gain:+.3f} ({low:+.3f} to "
    by += f"{high:+.3f}) on {images}"
    if not gain > 0:
        won, summary = {}, f"none {many} is better than the first choice ({accuracy[first]} on {images})"
    elif low > 0:
        summary = f"the best {many}: {by}"
    else:
        won, summary = {}, f"the best {many} may be so by chance, and the first choice stays: {by}"
    comments = {
        key: f"tried, {choice.value} before; {summary}"
        if key in won
        else f"{choice.reason}; tried {doubt.other}: {summary}"
        for key, (choice, doubt) in search.doubts.items()
    }
    return SearchVerdict([f"{key}={value}" for key, value in won.items()], comments, summary)
