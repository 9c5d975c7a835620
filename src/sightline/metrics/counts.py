"""Numbers that are functions of counts: how often each class was right, named and true.

Every function takes counts with any leading axes, so that one evaluation and a thousand resamples of it are computed by
the same lines. Conventions, the same everywhere: a quotient with denominator 0 (the precision of a class never
predicted, the recall of one without test images) counts as 0. A macro average is taken over the classes that occur
among labels or predictions, as scikit-learn does by default: a class that the test split lacks and the model never
names says nothing about the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sightline.metrics.base import Floats, Labels

Numbers = npt.NDArray[Any]


@dataclass(frozen=True)
class Counts:
    """What is counted of each class.

    Attributes:
        support: [K] test images of the class; the same in every resample.
        named: [..., K] images that were given the class.
        correct: [..., K] images of the class that were given it.
    """

    support: Labels
    named: Labels
    correct: Labels

    @classmethod
    def of(cls, confusion: Labels) -> Counts:
        """Counts a confusion matrix [K, K], rows true."""
        return cls(confusion.sum(axis=1), confusion.sum(axis=0), confusion.diagonal().copy())

    @property
    def images(self) -> int:
        """Number of test images."""
        return int(self.support.sum())


def resample(confusion: Labels, rng: np.random.Generator, resamples: int) -> Counts:
    """Draws the counts of stratified bootstrap resamples.

    To draw a class's images with replacement is to draw its row of the confusion matrix from a multinomial
    distribution: the same resamples at a small part of the cost, which does not grow with the number of images.

    Returns:
        Counts [resamples, K].
    """
    support = confusion.sum(axis=1)
    named = np.zeros((resamples, len(confusion)), np.int64)
    correct = np.zeros_like(named)
    for label in np.flatnonzero(support):
        columns = np.flatnonzero(confusion[label])
        drawn = rng.multinomial(support[label], confusion[label, columns] / support[label], size=resamples)
        named[:, columns] += drawn
        correct[:, label] = drawn[:, columns == label].sum(axis=1)
    return Counts(support, named, correct)


def quotient(numerator: Numbers, denominator: Numbers) -> Floats:
    """Returns numerator / denominator, 0 where the denominator is 0."""
    shape = np.broadcast_shapes(numerator.shape, denominator.shape)
    result: Floats = np.divide(numerator, denominator, out=np.zeros(shape), where=denominator != 0)
    return result


def accuracy(c: Counts) -> Floats:
    """Returns the share of right answers, [...]."""
    return quotient(c.correct.sum(axis=-1), np.asarray(c.images))


def precision(c: Counts) -> Floats:
    """Returns of the images given a class the share that are of it, [..., K]."""
    return quotient(c.correct, c.named)


def recall(c: Counts) -> Floats:
    """Returns of a class's images the share that were given it, [..., K]; also called sensitivity."""
    return quotient(c.correct, c.support)


def f1(c: Counts) -> Floats:
    """Returns the harmonic mean of precision and recall, [..., K]."""
    return quotient(2 * c.correct, c.named + c.support)


def specificity(c: Counts) -> Floats:
    """Returns of the images of other classes the share that were not given the class, [..., K]."""
    others = c.images - c.support
    return quotient(others - (c.named - c.correct), others)


def macro(values: Floats, c: Counts) -> Floats:
    """Returns the mean over the classes that occur among labels or predictions, [...]."""
    occurs = (c.support > 0) | (c.named > 0)
    return quotient((values * occurs).sum(axis=-1), occurs.sum(axis=-1))


def weighted(values: Floats, c: Counts) -> Floats:
    """Returns the mean over classes, weighted by their test images, [...]."""
    return quotient((values * c.support).sum(axis=-1), np.asarray(c.images))


def balanced_accuracy(c: Counts) -> Floats:
    """Returns the mean recall of the classes that have test images, [...]."""
    return quotient((recall(c) * (c.support > 0)).sum(axis=-1), np.asarray((c.support > 0).sum()))


def matthews(c: Counts) -> Floats:
    """Returns Matthews' correlation coefficient, -1..1, [...].

    Gorodkin (2004), "Comparing two K-category assignments by a K-category correlation coefficient"; 0 where labels or
    predictions are of one class.
    """
    n = float(c.images)
    chance = (c.named * c.support).sum(axis=-1)
    spread_named = n * n - (c.named.astype(np.float64) ** 2).sum(axis=-1)
    spread_true = n * n - (c.support.astype(np.float64) ** 2).sum(axis=-1)
    return quotient(c.correct.sum(axis=-1) * n - chance, np.sqrt(spread_named * spread_true))


def kappa(c: Counts) -> Floats:
    """Returns Cohen's kappa, agreement beyond chance, -1..1, [...].

    Cohen (1960), "A coefficient of agreement for nominal scales"; 0 where chance alone would always agree.
    """
    n = float(c.images)
    chance = (c.named * c.support).sum(axis=-1) / n
    return quotient(c.correct.sum(axis=-1) - chance, n - chance)
