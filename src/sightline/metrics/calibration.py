"""Calibration: whether predictions with a probability of 0.9 are correct nine times in ten."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sightline.metrics.base import Bools, Floats, Interval, Labels, shared_by_ties
from sightline.metrics.intervals import wilson

BINS = 15
"""As in Guo et al. (2017)."""

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.01, 100.0
"""Bounds of a temperature."""

_CHI_SQUARED = 3.841458820694124
_TINY = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True)
class Bin:
    """Images of similar confidence: their number, mean confidence, and accuracy with its interval."""

    count: int
    confidence: float
    accuracy: float
    interval: Interval


def reliability(confidences: Floats, correct: Bools, bins: int = BINS) -> list[Bin]:
    """Returns the reliability diagram: bins with equal numbers of images, the least confident first.

    Nguyen and O'Connor (2015), "Posterior calibration and exploratory analysis for natural language processing
    models", section 3: bins of equal mass. Images of equal confidence share their mean accuracy, so that it
    does not matter which of them falls into which bin.

    Args:
        confidences: [n] probabilities of the predicted classes, n >= 1.
        correct: [n] whether they are correct.
        bins: Maximum number of bins; there are no more bins than images.
    """
    order = np.argsort(confidences, kind="stable")
    confidence = confidences[order]
    right = shared_by_ties(confidence, correct[order].astype(np.float64))
    return [
        Bin(len(r), float(c.mean()), float(r.mean()), wilson(float(r.sum()), len(r)))
        for c, r in zip(*(np.array_split(x, min(bins, len(right))) for x in (confidence, right)), strict=True)
    ]


def ece(confidences: Floats, correct: Bools, bins: int = BINS) -> float:
    """Returns the expected calibration error: the mean difference of confidence and accuracy over reliability bins.

    Guo et al. (2017), "On calibration of modern neural networks", equation 3, with bins of equal mass.

    >>> ece(np.array([0.9, 0.9, 0.9, 0.9]), np.array([True, True, True, False]), bins=1)
    0.15
    """
    n = len(confidences)
    error = sum(b.count * abs(b.accuracy - b.confidence) for b in reliability(confidences, correct, bins)) / n
    return round(error, 12)  # removes rounding errors, as in 0.9 - 0.9


def log_probabilities(probabilities: Floats) -> Floats:
    """Returns natural logarithms of probabilities [n, K]: logits whose softmax they are, finite even for 0."""
    logits: Floats = np.log(probabilities.clip(_TINY))
    return logits


def fit_temperature(labels: Labels, logits: Floats) -> float:
    """Returns the temperature T that maximises the likelihood of softmax(logits / T).

    Guo et al. (2017), section 4.2. The mean log loss is convex in 1/T, so the root of its derivative is its only
    minimum. It is found by bisection in double precision, which gives the same bits every time.

    Args:
        labels: [n] true classes of images that the model was not trained on.
        logits: [n, K], known up to a constant in each row; logarithms of probabilities suffice.

    Returns:
        A value between `MIN_TEMPERATURE` and `MAX_TEMPERATURE`. It is 1, which changes nothing, if the likelihood has
        no maximum: no images, only correct predictions (which would justify any confidence), or uninformative logits.

    >>> round(fit_temperature(np.array([0, 0, 0, 1]), np.array([[2.0, 0.0]] * 4)) * float(np.log(3)), 9)
    2.0
    """
    if not len(labels):
        return 1.0
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    of_true = shifted[np.arange(len(labels)), labels]
    mean_of_true = of_true.mean()

    def slope(inverse: float) -> float:
        """Returns the derivative of the mean log loss with respect to 1/T."""
        weights = np.exp(shifted * inverse)
        expected = (weights * shifted).sum(axis=1) / weights.sum(axis=1)
        return float(expected.mean() - mean_of_true)

    largest, smallest = 1 / MIN_TEMPERATURE, 1 / MAX_TEMPERATURE
    if (of_true == 0).all() or slope(largest) <= 0:
        return 1.0
    if slope(smallest) >= 0:
        return MAX_TEMPERATURE
    low, high = smallest, largest
    while True:
        middle = (low + high) / 2
        if middle in (low, high):
            return 1 / middle
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)


def is_supported(labels: Labels, logits: Floats, temperature: float) -> bool:
    """Returns whether images significantly support a temperature fitted to them, compared with 1.

    A temperature fitted to few images, nearly all of them predicted correctly, depends on one or two errors and can
    make a model worse. So this is the likelihood-ratio test (Wilks (1938)) of T = 1 at 5 %: whether the summed log loss
    falls by more than half the 95 % quantile of chi-squared with one degree of freedom.
    """
    if not len(labels):
        return False
    rows = np.arange(len(labels))

    def loss(scaled: Floats) -> float:
        shifted = scaled - scaled.max(axis=1, keepdims=True)
        return float((np.log(np.exp(shifted).sum(axis=1)) - shifted[rows, labels]).sum())

    return 2 * (loss(logits) - loss(logits / temperature)) > _CHI_SQUARED


def apply_temperature(probabilities: Floats, temperature: float) -> Floats:
    """Returns softmax(log(probabilities) / temperature), [n, K], which keeps the order of the classes."""
    if temperature == 1:
        return probabilities
    scaled = log_probabilities(probabilities) / temperature
    weights = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    calibrated: Floats = weights / weights.sum(axis=1, keepdims=True)
    return calibrated
