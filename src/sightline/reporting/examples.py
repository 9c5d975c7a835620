"""Selection of examples: the worst errors, the least certain predictions, each class's most typical image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from sightline.metrics.base import Floats, Labels


@dataclass(frozen=True)
class Example:
    """One prediction: position in the split, true and predicted class, and their probabilities."""

    position: int
    id: str
    label: int
    predicted: int
    probability: float
    probability_of_true: float

    @property
    def wrong(self) -> bool:
        """Whether it is an error."""
        return self.label != self.predicted


class PredictedSplit(Protocol):
    """Predictions on a split: ids, true and predicted classes [n], probabilities [n, K]."""

    @property
    def ids(self) -> Sequence[str]: ...
    @property
    def labels(self) -> Labels: ...
    @property
    def predicted(self) -> Labels: ...
    @property
    def probabilities(self) -> Floats: ...


def examples(answers: PredictedSplit, positions: Iterable[int]) -> list[Example]:
    """Returns the predictions at the given positions of the split."""
    return [
        Example(
            i,
            answers.ids[i],
            int(answers.labels[i]),
            int(answers.predicted[i]),
            float(answers.probabilities[i, answers.predicted[i]]),
            float(answers.probabilities[i, answers.labels[i]]),
        )
        for i in map(int, positions)
    ]


def worst_errors(answers: PredictedSplit, n: int) -> list[Example]:
    """Returns the `n` errors of which the model was most certain, most certain first, then by id."""
    wrong = examples(answers, (answers.labels != answers.predicted).nonzero()[0])
    return sorted(wrong, key=lambda e: (-e.probability, e.id))[:n]


def most_uncertain(answers: PredictedSplit, n: int) -> list[Example]:
    """Returns the `n` predictions, correct or wrong, with the lowest confidence, lowest first, then by position."""
    least = answers.probabilities.max(axis=1).argsort(kind="stable")
    return examples(answers, least[:n])


def most_typical(answers: PredictedSplit, n: int) -> list[Example]:
    """Returns, for each of the first `n` classes with a correct prediction, the most confident one."""
    best: dict[int, Example] = {}
    for example in examples(answers, (answers.labels == answers.predicted).nonzero()[0]):
        held = best.get(example.label)
        if held is None or (-example.probability, example.id) < (-held.probability, held.id):
            best[example.label] = example
    return [best[label] for label in sorted(best)][:n]
