"""`pixels_logreg`: multinomial logistic regression on the pixels."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy.typing as npt

from sightline.metrics.base import Floats, Labels
from sightline.models.tuned_estimator import Settings, TunedEstimator
from sightline.stages.baseline.features import Features, PixelStandardizer
from sightline.stages.baseline.method import METHODS, BaselineMethod

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

    from sightline.datasets.processed_set import Images
    from sightline.stages.baseline.config import BaselineConfig

GRID = [{"C": c} for c in (1e-3, 1e-2, 1e-1, 1.0)]
"""Inverse strengths of the L2 penalty on the weights, to choose from."""

ITERATIONS = 200
"""Maximum of L-BFGS; on test sets of a few thousand images, more make no measurable difference."""


@METHODS.register("pixels_logreg")
class PixelsLogregBaseline(BaselineMethod):
    """Standardised pixels and a linear model, whose L2 penalty is chosen by cross-validation."""

    title: ClassVar[str] = "pixels, logistic regression"

    def __init__(self, config: BaselineConfig, num_classes: int) -> None:
        super().__init__(config, num_classes)
        self._pixels = PixelStandardizer(config.pixels_side)
        self._model = TunedEstimator(_fit, GRID, config, num_classes)
        self.notes = self._model.notes

    def fit(self, images: Images, labels: Labels) -> None:
        self._model.fit(self._pixels.fit(images), labels)

    def predict_proba(self, images: Images) -> Floats:
        return self._model.predict_proba(self._pixels(images))

    def parameters(self) -> dict[str, Any]:
        return self._model.parameters()

    def arrays(self) -> Iterable[npt.NDArray[Any]]:
        return [self._pixels.mean, self._pixels.std, *self._model.arrays("coef_", "intercept_")]


def _fit(features: Features, labels: Labels, settings: Settings) -> LogisticRegression:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # see ITERATIONS
        return LogisticRegression(C=settings["C"], max_iter=ITERATIONS).fit(features, labels)
