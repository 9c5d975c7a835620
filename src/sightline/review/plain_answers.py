"""Class probabilities from plain features, by models that have not seen the image's own label.

A network memorises wrong labels of its training images, and its embedding then places these images close to those of
the wrong class. Pixels and histograms of gradients do not depend on labels, and fitting models to them takes seconds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sightline.metrics.base import Floats, Labels
from sightline.review import review_ranking
from sightline.stages.baseline.features import reduced
from sightline.stages.baseline.methods.hog_svm import hog

FOLDS = 5
LEAST = 1e-4
"""Lower bound for probabilities, so that no single model can rule a class out."""

_SIDE = 32  # px
_CELLS = 4
_DIRECTIONS = 64  # principal components each of the pixels and of the histograms
_SAMPLE = 2000  # maximum number of images that the components are computed from
_MOST = 20_000  # maximum number of training images per fold
_PENALTY = 0.05  # inverse strength
_ITERATIONS = 300

Images = npt.NDArray[np.uint8]
Features = npt.NDArray[np.float32]


class PlainFeatures:
    """The principal components of pixels and of histograms of gradients.

    Args:
        sample: [n, h, w, c] images that the components are computed from, n >= 1.
    """

    def __init__(self, sample: Images) -> None:
        pixels, gradients = _numbers(sample)
        # All bins of a histogram are scaled to the same weight. Pixels are not, since some hardly vary.
        self._parts = [_directions(pixels, np.ones(pixels.shape[1], np.float32))]
        self._parts.append(_directions(gradients, np.maximum(gradients.std(axis=0), 1e-3)))

    def __call__(self, images: Images) -> Features:
        """Returns the features [n, D] of images [n, h, w, c]."""
        numbers = zip(_numbers(images), self._parts, strict=True)
        features: Features = np.concatenate([(x - mean) / spread @ axes for x, (mean, spread, axes) in numbers], axis=1)
        return features


def _numbers(images: Images) -> tuple[Features, Features]:
    """Returns the images' pixels, in 0..1, and histograms of gradients, [n, ...] each."""
    small = reduced(images, _SIDE)
    pixels: Features = (small.reshape(len(small), -1) / np.float32(255)).astype(np.float32)
    return pixels, hog(small, _CELLS)


def _directions(numbers: Features, spread: Features) -> tuple[Features, Features, Features]:
    """Returns the mean and the spread for standardising numbers [n, d], and their principal components."""
    mean: Features = numbers.mean(axis=0)
    scaled = (numbers - mean) / spread
    axes: Features = np.linalg.svd(scaled, full_matrices=False)[2][:_DIRECTIONS].T
    axes /= np.float32(max(float((scaled @ axes).std()), 1e-6))
    return mean, spread, axes


def even_sample(sizes: Sequence[int]) -> list[npt.NDArray[np.int64]]:
    """Returns the rows, in splits of these sizes, of the images that the components are computed from."""
    step = max(1, -(-sum(sizes) // _SAMPLE))
    return [np.arange(0, size, step) for size in sizes]


def plain_answers(features: Features, labels: Labels, num_classes: int) -> Features:
    """Returns probabilities [n, K] float32: the geometric mean of a linear model's and a nearest-neighbour vote's.

    Args:
        features: [n, D].
        labels: [n] class indices.
        num_classes: K.
    """
    lengths = np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    vote, _ = review_ranking.neighbourhood(labels, features / lengths, num_classes)
    return geometric_mean([held_out(features, labels, num_classes), vote]).astype(np.float32)


def held_out(features: Features, labels: Labels, num_classes: int) -> Floats:
    """Returns each image's probabilities [n, K] from a logistic regression fitted to the other folds."""
    from sklearn.linear_model import LogisticRegression

    order = np.random.default_rng(0).permutation(len(labels))
    answers = np.full((len(labels), num_classes), 1 / num_classes)
    for fold in range(min(FOLDS, len(labels))):
        out = order[fold::FOLDS]
        rest = np.setdiff1d(order, out, assume_unique=True)
        rest = rest[:: max(1, -(-len(rest) // _MOST))]
        known = np.unique(labels[rest])
        if len(known) < 2:
            continue
        model = LogisticRegression(C=_PENALTY, max_iter=_ITERATIONS).fit(features[rest], labels[rest])
        answers[out] = 0
        answers[out[:, None], known] = model.predict_proba(features[out])
    return answers


def geometric_mean(answers: Sequence[npt.NDArray[np.floating]]) -> Floats:
    """Returns the geometric mean [n, K] float64 of several models' probabilities [n, K] each.

    Unlike with the arithmetic mean, a model that is sure that a label is wrong can outvote one that has memorised it.
    """
    product: Floats = np.exp(np.mean([np.log(np.maximum(each, LEAST, dtype=np.float64)) for each in answers], axis=0))
    product /= product.sum(axis=1, keepdims=True)
    return product
