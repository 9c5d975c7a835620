"""Conformal prediction: thresholds with a guarantee for few images, and sets of classes that hold the truth.

Split-conformal prediction (Vovk et al., "Algorithmic learning in a random world", 2005): if held-out images and a new
one are exchangeable, the new one's score is above the quantile in at most the share that was allowed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sightline.metrics.base import Bools, Floats, Labels


@dataclass(frozen=True)
class NoveltyThresholds:
    """Distances above which an image counts as novel.

    Attributes:
        pooled: Quantile of all held-out images together.
        of_class: [C] quantile of the images nearest to each class; `pooled` where these are too few.
        sharing: Number of classes that have the pooled one.
        enough: Whether all images together are enough for the rate; else the largest distance is the threshold.
    """

    pooled: float
    of_class: Floats
    sharing: int
    enough: bool


def quantile(scores: npt.NDArray[np.floating], rate: float) -> float | None:
    """Returns the score that a new image of the same kind exceeds with probability `rate` at most.

    Args:
        scores: [n] of held-out images, the larger the stranger.
        rate: 0 to 1.

    Returns:
        The ceil((n + 1) (1 - rate))-th smallest; None where that is beyond the n-th: too few images for the rate.

    >>> quantile(np.arange(1.0, 20), 0.05), quantile(np.arange(1.0, 19), 0.05)
    (19.0, None)
    """
    n = len(scores)
    rank = math.ceil(round((n + 1) * (1 - rate), 9))  # 20 * (1 - 0.05) is 19, though not in binary fractions
    return None if rank > n else float(np.sort(scores)[max(rank, 1) - 1])


def novelty_thresholds(
    distances: npt.NDArray[np.floating],
    nearest: Labels,
    num_classes: int,
    rate: float,
    unknown: tuple[npt.NDArray[np.floating], Labels] | None = None,
) -> NoveltyThresholds:
    """Returns the distances above which images count as novel.

    Each class has the quantile of the held-out images that are nearest to it (Mondrian conformal prediction: the rate
    holds for the images nearest to each class); those with too few for one share the quantile of all images or, where
    these are too few as well, their largest distance. Known foreign images can raise the thresholds, never lower them,
    so that the rate stays what was promised. They raise all by the same factor: among the held-out images' distances in
    units of the threshold, from 1 to the quantile at a fifth of the rate (so that a few odd images do not decide), it
    is the one above which the share of foreign images exceeds that of held-out ones by most, the least of several.

    Args:
        distances: [n] of held-out images of the known classes, n >= 1.
        nearest: [n] the class that each is nearest to, 0 to C - 1.
        num_classes: C.
        rate: The share of these that may be above the threshold, 0 to 1.
        unknown: The same two of foreign images; None or empty for none.

    >>> known, classes = np.arange(1.0, 201), np.arange(200) // 190
    >>> novelty_thresholds(known, classes, 2, 0.05)
    NoveltyThresholds(pooled=191.0, of_class=array([182., 191.]), sharing=1, enough=True)
    >>> far = np.array([193.5, 300, 300])
    >>> novelty_thresholds(known, 0 * classes, 1, 0.05, (far, np.zeros(3, int))).of_class
    array([193.])
    """
    least = quantile(distances, rate)
    pooled = float(distances.max()) if least is None else least
    own = [quantile(distances[nearest == label], rate) for label in range(num_classes)]
    of_class = np.array([one or pooled for one in own])
    factor = 1.0
    if least and unknown is not None and len(unknown[0]):
        known, foreign = distances / of_class[nearest], unknown[0] / of_class[unknown[1]]
        most = quantile(known, rate / 5)
        within = known[(known > 1) & (known <= (np.inf if most is None else most))]
        candidates = np.unique(np.append(within, 1.0))
        gains = [(foreign > candidate).mean() - (known > candidate).mean() for candidate in candidates]
        factor = float(candidates[int(np.argmax(gains))])
    return NoveltyThresholds(factor * pooled, factor * of_class, sum(not one for one in own), least is not None)


def images_for(rate: float) -> int:
    """Returns how many held-out images `quantile` needs.

    >>> images_for(0.05), images_for(0.01)
    (19, 99)
    """
    return math.ceil(round(1 / rate, 9)) - 1


def class_thresholds(labels: Labels, of_true: Floats, num_classes: int, coverage: float) -> Floats:
    """Returns for each class the least conformity score with which it belongs to an image's set (class-conditional).

    A class with too few images shares the threshold of all images together, which holds the coverage over these, and
    not for that class alone.

    Args:
        labels: [n] classes of held-out images.
        of_true: [n] score of the true class of each, of one of `conformity_scores`.
        num_classes: K.
        coverage: The share of sets that are to hold the truth, 0 to 1.

    Returns:
        [K]; -infinity, so that the class is in every set, where all images together are too few.
    """
    pooled = quantile(1 - of_true, 1 - coverage)
    thresholds = np.full(num_classes, -np.inf if pooled is None else 1 - pooled)
    for label in range(num_classes):
        own = quantile(1 - of_true[labels == label], 1 - coverage)
        if own is not None:
            thresholds[label] = 1 - own
    return thresholds


def prediction_sets(scores: npt.NDArray[np.floating], thresholds: Floats) -> Bools:
    """Returns which classes are in the set of each image, [n, K].

    The likeliest class always is: a set without any would hold the truth in no case.

    Args:
        scores: [n, K] of one of `conformity_scores`.
        thresholds: [K] of `class_thresholds`.
    """
    # Of scores in single precision: a class at its threshold is in the set.
    chosen: Bools = scores >= thresholds - 1e-9
    chosen[np.arange(len(chosen)), scores.argmax(axis=1)] = True
    return chosen
