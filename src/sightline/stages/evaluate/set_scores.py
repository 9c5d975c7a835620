"""Sets of classes that are to hold the truth: whether they do on test images, and how large they are."""

from __future__ import annotations

from dataclasses import dataclass

from sightline.metrics import conformal
from sightline.metrics.base import Bools, Interval
from sightline.metrics.conformity_scores import CONFORMITY_SCORES, DEFAULT
from sightline.metrics.intervals import wilson
from sightline.stages.evaluate.results import SplitPredictions

COVERAGES = (0.9, 0.95, 0.99)
"""Coverages that are tried; any other can be asked for."""
SHOWN = 0.95
"""The coverage whose sets are looked at by class and slice."""


@dataclass(frozen=True)
class SetScore:
    """The sets of some images.

    Attributes:
        images: Number of images.
        covered: Number of their sets that hold the true class.
        interval: 95 % Wilson interval of the share that does.
        mean_size: Mean number of classes in a set.
    """

    images: int
    covered: int
    interval: Interval
    mean_size: float

    @property
    def coverage(self) -> float:
        """The share of sets that hold the true class."""
        return self.covered / self.images


@dataclass(frozen=True)
class SetResult:
    """The sets of the test images.

    Attributes:
        levels: The coverage that was asked for, and what came of it.
        chosen: [n, K] the sets at `SHOWN`.
        holds: [n] whether they hold the true class.
        fewest: Validation images that a class needs at `SHOWN` for a threshold of its own.
        pooled: Number of classes that have fewer, and share one.
        score: The name of the conformity score.
    """

    levels: list[tuple[float, SetScore]]
    chosen: Bools
    holds: Bools
    fewest: int
    pooled: int
    score: str

    def of(self, members: Bools) -> SetScore | None:
        """Returns the score at `SHOWN` of the images that `members` [n] marks; None where it marks none."""
        return _score(self.chosen[members], self.holds[members]) if members.any() else None


def measure_sets(validation: SplitPredictions, test: SplitPredictions, score: str = DEFAULT) -> SetResult | None:
    """Sets thresholds on the validation split and tries them on the test split; None without validation images.

    Args:
        validation: The images that set thresholds.
        test: The images whose sets are looked at.
        score: The name of the conformity score.
    """
    if not len(validation.ids):
        return None
    num_classes = test.probabilities.shape[1]
    rows = range(len(validation.ids))
    conformity = CONFORMITY_SCORES[score]().scores
    of_true, of_test = conformity(validation.probabilities)[rows, validation.labels], conformity(test.probabilities)

    def sets(coverage: float) -> tuple[Bools, Bools]:
        thresholds = conformal.class_thresholds(validation.labels, of_true.astype(float), num_classes, coverage)
        chosen = conformal.prediction_sets(of_test, thresholds)
        holds: Bools = chosen[range(len(test.ids)), test.labels]
        return chosen, holds

    levels = [(coverage, _score(*sets(coverage))) for coverage in COVERAGES]
    fewest = conformal.images_for(1 - SHOWN)
    pooled = sum(int((validation.labels == label).sum()) < fewest for label in range(num_classes))
    return SetResult(levels, *sets(SHOWN), fewest, pooled, score)


def _score(chosen: Bools, holds: Bools) -> SetScore:
    covered = int(holds.sum())
    return SetScore(len(holds), covered, wilson(covered, len(holds)), float(chosen.sum(axis=1).mean()))
