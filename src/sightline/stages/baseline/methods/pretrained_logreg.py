"""`pretrained_logreg`: logistic regression on the features of a pretrained network (a linear probe)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from sightline.metrics.base import Floats, Labels
from sightline.models import linear_probe
from sightline.stages.baseline.method import METHODS, BaselineMethod
from sightline.stages.baseline.pretrained_features import PretrainedFeatures

if TYPE_CHECKING:
    from sightline.datasets.processed_set import Images
    from sightline.stages.baseline.config import BaselineConfig


@METHODS.register("pretrained_logreg")
class PretrainedLogregBaseline(BaselineMethod):
    """Counterpart of `train.recipe: probe`, to compare with training more of the network than its head."""

    title: ClassVar[str] = "pretrained features, logistic regression"

    def __init__(self, config: BaselineConfig, num_classes: int) -> None:
        super().__init__(config, num_classes)
        self._features = PretrainedFeatures(config.network, num_classes, config.threads)
        self._solution: linear_probe.ProbeSolution | None = None

    def fit(self, images: Images, labels: Labels) -> None:
        self._solution = linear_probe.solve(self._features.fit(images), labels, self.num_classes, self.config)
        self.notes += self._solution.notes

    def predict_proba(self, images: Images) -> Floats:
        scores = self._fitted.scores(self._features(images))
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(weights / weights.sum(axis=1, keepdims=True))

    def parameters(self) -> dict[str, Any]:
        return {"network": self.config.network, **self._fitted.parameters}

    def arrays(self) -> Iterable[npt.NDArray[Any]]:
        return [self._fitted.weight, self._fitted.bias]

    @property
    def _fitted(self) -> linear_probe.ProbeSolution:
        if self._solution is None:
            raise RuntimeError("fit() comes first")
        return self._solution
