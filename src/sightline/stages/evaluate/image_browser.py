"""The images of the report's gallery that can be filtered: by class, by confusion, by slice."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sightline.datasets.processed_set import Split
from sightline.reporting.cards import Card, cards
from sightline.reporting.examples import Example, examples
from sightline.stages.evaluate.results import Slice, SplitPredictions


@dataclass(frozen=True)
class BrowsedImage:
    """An image of the gallery, and the numbers of the slices that it is in."""

    card: Card
    slices: tuple[int, ...]


def browsed_images(
    test: SplitPredictions, rows: Split, classes: Sequence[str], slices: Sequence[Slice], most: int
) -> list[BrowsedImage]:
    """Returns at most `most` images, two thirds of them errors where there are so many.

    Of the errors those of each confusion in turn, the most certain first; of the right answers those of each class in
    turn, the least certain first: so each confusion and each class has some.

    Args:
        test: The answers.
        rows: The split's images.
        classes: Names.
        slices: The slices that the page lists.
        most: Largest number of images.
    """
    every = examples(test, range(len(test.ids)))
    wrong = sorted((e for e in every if e.wrong), key=lambda e: (-e.probability, e.id))
    right = sorted((e for e in every if not e.wrong), key=lambda e: (e.probability, e.id))
    kept = max(most * 2 // 3, most - len(right))
    chosen = _in_turn(wrong)[:kept]
    chosen += _in_turn(right)[: most - len(chosen)]
    return [
        BrowsedImage(
            card,
            tuple(i for i, s in enumerate(slices) if s.members is not None and s.members[card.example.position]),
        )
        for card in cards(chosen, rows, classes)
    ]


def _in_turn(found: Iterable[Example]) -> list[Example]:
    """Returns one of each pair of true and predicted class, then the second of each, and so on; pairs in order."""
    pairs: dict[tuple[int, int], list[Example]] = {}
    for example in found:
        pairs.setdefault((example.label, example.predicted), []).append(example)
    rounds = itertools.zip_longest(*(pairs[pair] for pair in sorted(pairs)))
    return [example for each in rounds for example in each if example is not None]
