"""Coverage and size of prediction sets on test images."""

from __future__ import annotations

from dataclasses import dataclass

from sightline.metrics import conformal
from sightline.metrics.base import Bools, Interval
from sightline.metrics.conformity_scores import CONFORMITY_SCORES, DEFAULT
from sightline.metrics.intervals import wilson
from sightline.stages.evaluate.results import SplitPredictions

COVERAGES = (0.9, 0.95, 0.99)
"""Nominal coverages in the report; predictions can request any other."""
SHOWN = 0.95
"""Nominal coverage of the sets that are analysed by class and slice."""


@dataclass(frozen=True)
class SetScore:
    """Coverage and size of the prediction sets of some images.

    Attributes:
        images: Number of images.
        covered: Number of sets that contain the true class.
        interval: 95 % Wilson interval of the coverage.
        mean_size: Mean number of classes in a set.
    """

    images: int
    covered: int
    interval: Interval
    mean_size: float

    @property
    def coverage(self) -> float:
        """The fraction of sets that contain the true class."""
        return self.covered / self.images


@dataclass(frozen=True)
class SetResult:
    """The prediction sets of the test images.

    Attributes:
        levels: The nominal coverages with the measured scores.
        chosen: [n, K] the sets at `SHOWN`.
        holds: [n] whether they contain the true class.
        fewest: Number of validation images that a class needs for its own threshold at `SHOWN`.
        pooled: Number of classes with fewer, which share a threshold.
        score: The name of the conformity score.
    """

    levels: list[tuple[float, SetScore]]
    chosen: Bools
    holds: Bools
    fewest: int
    pooled: int
    score: str

    def of(self, members: Bools) -> SetScore | None:
        """Returns the score at `SHOWN` of the images selected by the mask `members` [n]; None if there are none."""
        return _score(self.chosen[members], self.holds[members]) if members.any() else None


def measure_sets(validation: SplitPredictions, test: SplitPredictions, score: str = DEFAULT) -> SetResult | None:
    """Calibrates thresholds on the validation split, and measures the sets of the test split.

    Returns None if there are no validation images.

    Args:
        validation: The predictions for calibration.
        test: The predictions whose sets are measured.
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
