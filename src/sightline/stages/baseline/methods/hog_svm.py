"""`hog_svm`: histograms of oriented gradients, and a linear support vector machine."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from sightline.metrics.base import Floats, Labels
from sightline.models.tuned_estimator import Settings, TunedEstimator
from sightline.stages.baseline.features import Features, in_batches, reduced
from sightline.stages.baseline.method import METHODS, BaselineMethod

if TYPE_CHECKING:
    from sklearn.svm import LinearSVC

    from sightline.datasets.processed_set import Images
    from sightline.stages.baseline.config import BaselineConfig

GRID = [{"C": c} for c in (0.01, 0.1, 1.0)]
"""Inverse strengths of the L2 penalty on the weights, to choose from."""

BINS = 9
CLIP = 0.2
"""Number of orientation bins over 180 degrees, and maximum of a normalised block's values (Dalal and Triggs)."""

WEAK = 2.55
"""Length of a block's vector, in grey levels per pixel, below which it is damped: 1 % of the range."""


@METHODS.register("hog_svm")
class HogSvmBaseline(BaselineMethod):
    """Histograms of gradients and a one-vs-rest linear SVM, whose C is chosen by cross-validation."""

    title: ClassVar[str] = "HOG, linear SVM"

    def __init__(self, config: BaselineConfig, num_classes: int) -> None:
        super().__init__(config, num_classes)
        self._cells, self._side, self._threads = config.hog_cells, config.pixels_side, config.threads
        self._model = TunedEstimator(_fit, GRID, config, num_classes)
        self.notes = self._model.notes

    def fit(self, images: Images, labels: Labels) -> None:
        self._model.fit(self._features(images), labels)

    def predict_proba(self, images: Images) -> Floats:
        return self._model.predict_proba(self._features(images))

    def parameters(self) -> dict[str, Any]:
        return {"cells": self._cells, **self._model.parameters()}

    def arrays(self) -> Iterable[npt.NDArray[Any]]:
        return self._model.arrays("coef_", "intercept_")

    def _features(self, images: Images) -> Features:
        return in_batches(lambda batch: hog(reduced(batch, self._side), self._cells), images, self._threads)


def _fit(features: Features, labels: Labels, settings: Settings) -> LinearSVC:
    from sklearn.svm import LinearSVC

    # The solver of the primal problem is deterministic; that of the dual uses random numbers.
    return LinearSVC(C=settings["C"], dual=False).fit(features, labels)


def hog(images: Images, cells: int) -> Features:
    """Returns histograms of oriented gradients.

    Dalal and Triggs (2005), "Histograms of oriented gradients for human detection": centred differences of the
    channel with the largest gradient; unsigned orientation in `BINS` bins; votes by magnitude, interpolated linearly
    between neighbouring bins and neighbouring cells; overlapping blocks of 2 x 2 cells, each normalised, clipped and
    normalised again (L2-Hys). Implemented here because OpenCV 5 no longer has HOG.

    Args:
        images: [n, h, w, c] uint8, of any h, w and c.
        cells: Number of cells along each side, at least 2.

    Returns:
        [n, (cells - 1)^2 * 4 * BINS] float32, in 0..1.
    """
    height, width = images.shape[1:3]
    magnitude, place = _gradients(images)
    lower = np.floor(place)
    share = (place - lower).astype(np.float32)
    bins = lower.astype(np.int64)
    votes = np.zeros((len(images), BINS, height, width), np.float32)
    # The two bins of a pixel differ, so that neither vote overwrites the other.
    np.put_along_axis(votes, (bins % BINS)[:, None], (magnitude * (1 - share))[:, None], axis=1)
    np.put_along_axis(votes, ((bins + 1) % BINS)[:, None], (magnitude * share)[:, None], axis=1)
    histograms = _pooling(cells, height) @ votes @ _pooling(cells, width).T
    corners = [histograms[:, :, i : cells - 1 + i, j : cells - 1 + j] for i in (0, 1) for j in (0, 1)]
    blocks = np.concatenate(corners, axis=1)
    blocks /= np.sqrt((blocks**2).sum(axis=1, keepdims=True) + WEAK**2)
    blocks = np.minimum(blocks, CLIP)
    blocks /= np.sqrt((blocks**2).sum(axis=1, keepdims=True) + 1e-6)
    features: Features = blocks.reshape(len(images), -1).astype(np.float32, copy=False)
    return features


def _gradients(images: Images) -> tuple[Features, Features]:
    """Returns gradient magnitudes (grey levels per two pixels) and orientations (bins, from -0.5), [n, h, w] each."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge").astype(np.float32)
    vertical = padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]
    horizontal = padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]
    magnitude = np.hypot(vertical, horizontal)
    largest = magnitude.argmax(axis=3)[..., None]
    magnitude, vertical, horizontal = (
        np.take_along_axis(array, largest, axis=3)[..., 0] for array in (magnitude, vertical, horizontal)
    )
    orientation = np.arctan2(vertical, horizontal) % np.float32(np.pi)
    return magnitude, orientation * np.float32(BINS / np.pi) - np.float32(0.5)


@functools.cache
def _pooling(cells: int, length: int) -> Features:
    """Returns the weight of each pixel in each cell, [cells, length]: largest at the cell's centre, 0 at the next ones.

    Each cell's weights sum to 1, so that histograms are means, and `WEAK` is the same for any image size.
    """
    centres = (np.arange(cells) + 0.5) * length / cells
    distance = np.abs(np.arange(length) + 0.5 - centres[:, None]) * cells / length
    weights = np.maximum(0, 1 - distance)
    if length < cells:  # some cells have no pixel nearby: use the nearest one
        weights[np.arange(cells), distance.argmin(axis=1)] += 1e-3
    pooling: Features = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return pooling
