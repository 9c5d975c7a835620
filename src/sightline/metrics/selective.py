"""Selective classification: the trade-off of accuracy and coverage when uncertain predictions are withheld."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sightline.metrics.base import Bools, Floats, shared_by_ties


@dataclass(frozen=True)
class RiskCoverage:
    """The risk-coverage curve, most confident image first.

    Attributes:
        coverage: [n] share of images that are classified: 1/n, 2/n, ..., 1.
        risk: [n] error rate on these images.
        threshold: [n] lowest confidence among these images.
    """

    coverage: Floats
    risk: Floats
    threshold: Floats

    @property
    def area(self) -> float:
        """AURC: the mean risk over all coverages; 0 is perfect, the overall error rate is chance level."""
        return float(self.risk.mean())


def risk_coverage(confidences: Floats, correct: Bools) -> RiskCoverage:
    """Returns the curve of Geifman and El-Yaniv (2017), "Selective classification for deep neural networks".

    A threshold cannot separate images of equal confidence; between its points, the curve shows the expected result of a
    random choice among them.

    Args:
        confidences: [n] probabilities of the predicted classes, n >= 1.
        correct: [n] whether they are correct.
    """
    order = np.argsort(-confidences, kind="stable")
    threshold = confidences[order]
    wrong = shared_by_ties(threshold, (~correct[order]).astype(np.float64))
    answered = np.arange(1, len(wrong) + 1)
    return RiskCoverage(answered / len(wrong), np.cumsum(wrong) / answered, threshold)


@dataclass(frozen=True)
class Abstention:
    """The confidence threshold for abstaining.

    Attributes:
        threshold: Minimum confidence; None if no threshold reaches the target accuracy.
        coverage: Share of images at or above it, among those that it was chosen on.
        accuracy: The accuracy on these images; 1 if there are none.
    """

    threshold: float | None
    coverage: float
    accuracy: float


def choose_threshold(confidences: Floats, correct: Bools, accuracy: float) -> Abstention:
    """Returns the threshold that classifies the most images with at least the target accuracy.

    Choose it on the validation split, and verify it on the test split.

    Args:
        confidences: [n] probabilities of the predicted classes; n may be 0.
        correct: [n] whether they are correct.
        accuracy: Target, 0..1.

    Returns:
        The threshold, halfway to the next lower confidence; 0 if all images may be classified.
    """
    none = Abstention(None, 0.0, 1.0)
    if not len(confidences):
        return none
    curve = risk_coverage(confidences, correct)
    ends = np.r_[curve.threshold[1:] != curve.threshold[:-1], True]  # a threshold cannot split equal confidences
    fits = np.flatnonzero(ends & (1 - curve.risk >= accuracy - 1e-12))
    if not len(fits):
        return none
    last = int(fits[-1])
    below = curve.threshold[last + 1] if last + 1 < len(curve.threshold) else -curve.threshold[last]
    threshold = float((curve.threshold[last] + below) / 2)
    return Abstention(threshold, float(curve.coverage[last]), float(1 - curve.risk[last]))
