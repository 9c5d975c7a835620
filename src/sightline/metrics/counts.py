"""Metrics that are functions of counts: how often each class was true, predicted, and predicted correctly.

Every function accepts counts with any leading axes, so that the same code computes an evaluation and a thousand
resamples of it. Two conventions hold everywhere. A quotient with denominator 0 (the precision of a class never
predicted, the recall of one without test images) counts as 0. A macro average is over the classes that occur among
labels or predictions, as in scikit-learn by default, since a class that is neither in the test split nor predicted says
nothing about the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sightline.metrics.base import Floats, Labels
from sightline.metrics.intervals import PSEUDO

Numbers = npt.NDArray[Any]


@dataclass(frozen=True)
class Counts:
    """The counts of each class.

    Attributes:
        support: [K] number of test images of the class, the same in every resample.
        predicted: [..., K] number of images predicted as the class; may be fractional if expected.
        correct: [..., K] number of images of the class predicted as it; may be fractional if expected.
    """

    support: Labels
    predicted: Numbers
    correct: Numbers

    @classmethod
    def of(cls, confusion: Labels) -> Counts:
        """Counts from a confusion matrix [K, K], whose rows are true classes."""
        return cls(confusion.sum(axis=1), confusion.sum(axis=0), confusion.diagonal().copy())

    @classmethod
    def expected(cls, support: Labels, shares: Floats) -> Counts:
        """Returns the expected counts of classes with `support` images and shares of predictions [K, K]."""
        matrix = support[:, None] * shares
        return cls(support, matrix.sum(axis=0), matrix.diagonal().copy())

    @property
    def images(self) -> int:
        """Number of test images."""
        return int(self.support.sum())


POOLED = 2.0
"""Images that each class borrows from all classes to estimate its spread, for which one or two are too few."""


def smoothed(confusion: Labels) -> tuple[Floats, Floats]:
    """Returns two smoothed versions of the shares of each class's images that are predicted as each class, [K, K].

    Both add `intervals.PSEUDO` images, distributed over the classes like the others: half of them are predicted
    correctly, half wrongly, evenly among the classes that occur. The second also adds `POOLED` images per class, which
    are predicted correctly as often as all images are. Rows without images are zero.
    """
    support = confusion.sum(axis=1)
    n, size = support.sum(), len(confusion)
    occurs = (support > 0) | (confusion.sum(axis=0) > 0)
    if occurs.sum() == 1:
        occurs[np.flatnonzero(~occurs)[:1]] = True  # a wrong prediction needs another class
    right = np.eye(size)
    wrong = quotient((1 - right) * occurs, ((1 - right) * occurs).sum(axis=1, keepdims=True))
    wrong = np.where(wrong.sum(axis=1, keepdims=True) > 0, wrong, right)  # with one class, no prediction is wrong
    unsure = PSEUDO / (n + PSEUDO)
    has = (support > 0)[:, None]
    light = has * ((1 - unsure) * quotient(confusion, support[:, None]) + unsure / 2 * (right + wrong))
    rate = (confusion.trace() + PSEUDO / 2) / (n + PSEUDO)
    borrowed = POOLED / (support[:, None] + POOLED)
    return light, has * ((1 - borrowed) * light + borrowed * (rate * right + (1 - rate) * wrong))


def resample(support: Labels, shares: Floats, rng: np.random.Generator, resamples: int) -> Counts:
    """Draws the counts of stratified resamples: each class keeps its number of images, and its row is multinomial.

    The cost does not grow with the number of images.

    Args:
        support: [K] number of images of each class.
        shares: [K, K] the share of each class's images that is predicted as each class.
        rng: The generator of the draws.
        resamples: Number of resamples.

    Returns:
        Counts [resamples, K].
    """
    predicted = np.zeros((resamples, len(support)), np.int64)
    correct = np.zeros_like(predicted)
    for label in np.flatnonzero(support):
        columns = np.flatnonzero(shares[label])
        drawn = rng.multinomial(support[label], shares[label, columns] / shares[label].sum(), size=resamples)
        predicted[:, columns] += drawn
        correct[:, label] = drawn[:, columns == label].sum(axis=1)
    return Counts(support, predicted, correct)


def quotient(numerator: Numbers, denominator: Numbers) -> Floats:
    """Returns numerator / denominator, 0 where the denominator is 0."""
    shape = np.broadcast_shapes(numerator.shape, denominator.shape)
    result: Floats = np.divide(numerator, denominator, out=np.zeros(shape), where=denominator != 0)
    return result


def accuracy(c: Counts) -> Floats:
    """Returns the accuracy, [...]."""
    return quotient(c.correct.sum(axis=-1), np.asarray(c.images))


def precision(c: Counts) -> Floats:
    """Returns the share of the images predicted as a class that belong to it, [..., K]."""
    return quotient(c.correct, c.predicted)


def recall(c: Counts) -> Floats:
    """Returns the share of a class's images that are predicted as it, [..., K]; also called sensitivity."""
    return quotient(c.correct, c.support)


def f1(c: Counts) -> Floats:
    """Returns the harmonic mean of precision and recall, [..., K]."""
    return quotient(2 * c.correct, c.predicted + c.support)


def specificity(c: Counts) -> Floats:
    """Returns the share of the other classes' images that are not predicted as the class, [..., K]."""
    others = c.images - c.support
    return quotient(others - (c.predicted - c.correct), others)


def macro(values: Floats, c: Counts) -> Floats:
    """Returns the mean over the classes that occur among labels or predictions, [...]."""
    occurs = (c.support > 0) | (c.predicted > 0)
    return quotient((values * occurs).sum(axis=-1), occurs.sum(axis=-1))


def weighted(values: Floats, c: Counts) -> Floats:
    """Returns the mean over classes, weighted by their test images, [...]."""
    return quotient((values * c.support).sum(axis=-1), np.asarray(c.images))


def balanced_accuracy(c: Counts) -> Floats:
    """Returns the mean recall of the classes that have test images, [...]."""
    return quotient((recall(c) * (c.support > 0)).sum(axis=-1), np.asarray((c.support > 0).sum()))


def matthews(c: Counts) -> Floats:
    """Returns Matthews' correlation coefficient, -1..1, [...].

    Gorodkin (2004), "Comparing two K-category assignments by a K-category correlation coefficient"; 0 if all labels or
    all predictions are of one class.
    """
    n = float(c.images)
    chance = (c.predicted * c.support).sum(axis=-1)
    spread_predicted = n * n - (c.predicted.astype(np.float64) ** 2).sum(axis=-1)
    spread_true = n * n - (c.support.astype(np.float64) ** 2).sum(axis=-1)
    return quotient(c.correct.sum(axis=-1) * n - chance, np.sqrt(spread_predicted * spread_true))


def kappa(c: Counts) -> Floats:
    """Returns Cohen's kappa, agreement beyond chance, -1..1, [...].

    Cohen (1960), "A coefficient of agreement for nominal scales"; 0 if chance alone would always agree.
    """
    n = float(c.images)
    chance = (c.predicted * c.support).sum(axis=-1) / n
    return quotient(c.correct.sum(axis=-1) - chance, n - chance)
