"""The images of the report's gallery, which can be filtered by class, by confusion and by slice."""

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
    """Returns at most `most` images, up to two thirds of them errors (more if there are too few correct ones).

    To represent every confusion and every class, errors are taken from each confusion in turn, the most certain first,
    and correct predictions from each class in turn, the least certain first.

    Args:
        test: The predictions.
        rows: The split's images.
        classes: Class names.
        slices: The slices that the page lists.
        most: Maximum number of images.
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
    """Interleaves examples: the first of each pair of true and predicted class, then the second of each, and so on."""
    pairs: dict[tuple[int, int], list[Example]] = {}
    for example in found:
        pairs.setdefault((example.label, example.predicted), []).append(example)
    rounds = itertools.zip_longest(*(pairs[pair] for pair in sorted(pairs)))
    return [example for each in rounds for example in each if example is not None]
