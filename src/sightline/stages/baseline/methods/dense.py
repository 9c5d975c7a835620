"""`dense`: a fully connected network on the pixels, with 64 and 32 hidden units.

The network is the same as `train.model: dense`, trained with Adam on the same loss, but by scikit-learn. So this stage
needs neither PyTorch nor a second training loop in addition to the train stage's.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from sightline.core.seeds import derive
from sightline.metrics.base import Floats, Labels
from sightline.models.tuned_estimator import Settings, TunedEstimator
from sightline.stages.baseline.features import Features, PixelStandardizer
from sightline.stages.baseline.method import METHODS, BaselineMethod

if TYPE_CHECKING:
    from sklearn.neural_network import MLPClassifier

    from sightline.datasets.processed_set import Images
    from sightline.stages.baseline.config import BaselineConfig

GRID = [{"alpha": alpha} for alpha in (1.0, 1e-2)]
"""Strengths of the L2 penalty on the weights, to choose from: a strong one, and one that hardly matters."""

HELD_OUT = 0.1
ENOUGH = 5000
"""With at least this many images, training stops early by the accuracy on a held-out share of them. With fewer, the
share is too small for that, but too large to lose: on 1,161 digits, holding it out costs two points of accuracy."""


@METHODS.register("dense")
class DenseBaseline(BaselineMethod):
    """Standardised pixels, then layers of 64 and 32 rectified linear units, then the classes."""

    title: ClassVar[str] = "fully connected network 64-32"

    def __init__(self, config: BaselineConfig, num_classes: int) -> None:
        super().__init__(config, num_classes)
        fit = functools.partial(_fit, epochs=config.epochs, seed=derive(config.seed, "dense") % 2**32)
        self._pixels = PixelStandardizer(config.pixels_side)
        self._model = TunedEstimator(fit, GRID, config, num_classes)
        self.notes = self._model.notes

    def fit(self, images: Images, labels: Labels) -> None:
        self._model.fit(self._pixels.fit(images), labels)

    def predict_proba(self, images: Images) -> Floats:
        return self._model.predict_proba(self._pixels(images))

    def parameters(self) -> dict[str, Any]:
        return self._model.parameters()

    def arrays(self) -> Iterable[npt.NDArray[Any]]:
        return [self._pixels.mean, self._pixels.std, *self._model.arrays("coefs_", "intercepts_")]


def _fit(features: Features, labels: Labels, settings: Settings, epochs: int, seed: int) -> MLPClassifier:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    counts = np.bincount(labels)
    # Each class must have images both in the training part and in the held-out part.
    stops_early = len(labels) >= ENOUGH and counts.min() >= 2 and len(labels) * HELD_OUT >= len(counts)
    network = MLPClassifier(
        hidden_layer_sizes=(64, 32),
        alpha=settings["alpha"],
        max_iter=epochs,
        early_stopping=bool(stops_early),
        validation_fraction=HELD_OUT,
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is the user's choice
        return network.fit(features, labels)
