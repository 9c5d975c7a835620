"""Which images are worth a look: the worst errors, the most uncertain answers, each class's most typical image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sightline.metrics.base import Floats, Labels


@dataclass(frozen=True)
class Example:
    """One answer: place in the split, true and predicted class, and the probability given to each."""

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


@dataclass(frozen=True)
class Answers:
    """A split's answers: ids, true and predicted classes [n], probabilities [n, K]."""

    ids: Sequence[str]
    labels: Labels
    predicted: Labels
    probabilities: Floats

    def examples(self, positions: Iterable[int]) -> list[Example]:
        """Returns the answers at some places of the split."""
        return [
            Example(
                i,
                self.ids[i],
                int(self.labels[i]),
                int(self.predicted[i]),
                float(self.probabilities[i, self.predicted[i]]),
                float(self.probabilities[i, self.labels[i]]),
            )
            for i in map(int, positions)
        ]

    def worst_errors(self, n: int) -> list[Example]:
        """Returns the `n` errors of which the model was most certain, most certain first, then by id."""
        wrong = self.examples((self.labels != self.predicted).nonzero()[0])
        return sorted(wrong, key=lambda e: (-e.probability, e.id))[:n]

    def most_uncertain(self, n: int) -> list[Example]:
        """Returns the `n` answers, right or wrong, with the lowest probability, lowest first, then by id."""
        least = self.probabilities.max(axis=1).argsort(kind="stable")
        return sorted(self.examples(least[:n]), key=lambda e: (e.probability, e.id))

    def most_typical(self, n: int) -> list[Example]:
        """Returns, for each of the first `n` classes with a right answer, the one of the highest probability."""
        right = self.labels == self.predicted
        best: dict[int, Example] = {}
        for example in self.examples(right.nonzero()[0]):
            held = best.get(example.label)
            if held is None or (-example.probability, example.id) < (-held.probability, held.id):
                best[example.label] = example
        return [best[label] for label in sorted(best)][:n]
