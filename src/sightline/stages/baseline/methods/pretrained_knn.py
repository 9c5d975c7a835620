"""`pretrained_knn`: nearest neighbours by the features of a pretrained network."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from sightline.metrics.base import Floats, Labels
from sightline.models.tuned_estimator import Settings, TunedEstimator
from sightline.stages.baseline.features import Features
from sightline.stages.baseline.method import METHODS, BaselineMethod
from sightline.stages.baseline.pretrained_features import PretrainedFeatures

if TYPE_CHECKING:
    from sklearn.neighbors import KNeighborsClassifier

    from sightline.datasets.processed_set import Images
    from sightline.stages.baseline.config import BaselineConfig

GRID = [{"neighbours": k} for k in (20, 10, 5, 3, 1)]


@METHODS.register("pretrained_knn")
class PretrainedKnnBaseline(BaselineMethod):
    """A vote of the nearest training images by the angle between features, weighted by inverse distance."""

    title: ClassVar[str] = "pretrained features, nearest neighbours"

    def __init__(self, config: BaselineConfig, num_classes: int) -> None:
        super().__init__(config, num_classes)
        self._features = PretrainedFeatures(config.network, num_classes, config.threads)
        self._model = TunedEstimator(_fit, GRID, config, num_classes)
        self.notes = self._model.notes

    def fit(self, images: Images, labels: Labels) -> None:
        self._model.fit(_directions(self._features.fit(images)), labels)

    def predict_proba(self, images: Images) -> Floats:
        return self._model.predict_proba(_directions(self._features(images)))

    def parameters(self) -> dict[str, Any]:
        return {"network": self.config.network, **self._model.parameters()}

    def arrays(self) -> Iterable[npt.NDArray[Any]]:
        return self._model.arrays("_fit_X", "_y")


def _directions(features: Features) -> Features:
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.maximum(lengths, 1e-12), np.float32)


def _fit(features: Features, labels: Labels, settings: Settings) -> KNeighborsClassifier:
    from sklearn.neighbors import KNeighborsClassifier

    class SmoothedNeighbours(KNeighborsClassifier):  # type: ignore[misc]  # scikit-learn has no types
        """Adds one vote, shared equally by all classes, so that no class has probability 0."""

        def predict_proba(self, features: Features) -> Floats:
            """Returns probabilities [n, K]."""
            votes = super().predict_proba(features)
            return np.asarray((votes * self.n_neighbors + 1 / votes.shape[1]) / (self.n_neighbors + 1))

    neighbours = min(int(settings["neighbours"]), len(labels))
    return SmoothedNeighbours(n_neighbors=neighbours, weights="distance", algorithm="brute").fit(features, labels)
