"""`majority`: always predicts the most frequent class."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from sightline.metrics.base import Floats, Labels
from sightline.stages.baseline.method import METHODS, BaselineMethod

if TYPE_CHECKING:
    from sightline.datasets.processed_set import Images
    from sightline.stages.baseline.config import BaselineConfig


@METHODS.register("majority")
class MajorityBaseline(BaselineMethod):
    """Predicts each class's share of the training images as its probability, and so the most frequent class."""

    title: ClassVar[str] = "most frequent class"

    def __init__(self, config: BaselineConfig, num_classes: int) -> None:
        super().__init__(config, num_classes)
        self._shares = np.zeros(num_classes)
        self._images = 0

    def fit(self, images: Images, labels: Labels) -> None:  # noqa: ARG002  the images do not matter
        self._images = len(labels)
        self._shares = np.bincount(labels, minlength=self.num_classes) / len(labels)

    def predict_proba(self, images: Images) -> Floats:
        return np.tile(self._shares, (len(images), 1))

    def parameters(self) -> dict[str, Any]:
        return {"images": self._images}

    def arrays(self) -> Iterable[npt.NDArray[Any]]:
        return [self._shares]
