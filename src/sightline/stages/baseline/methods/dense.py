"""`dense`: a fully connected network on the pixels, with 64 and 32 hidden units.

The same network as `train.model: dense`, but by scikit-learn: trained by Adam on the same loss, it needs neither
PyTorch, which this stage would import for it alone, nor a second training loop beside that of the
train stage.
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
"""From so many images on, the accuracy on this share of them says when to stop. Of fewer, the share is too small to
say it, and too large to be done without: on 1,161 digits it costs two points of accuracy."""


@METHODS.register("dense")
class DenseBaseline(BaselineMethod):
    """Standardised pixels into 64, then 32 rectified linear units, then the classes."""

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
    # Each class has to be among the images that are learnt from as well as among those held out.
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
