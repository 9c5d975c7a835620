"""What every method is: fitted on images and labels, asked for probabilities."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from sightline.datasets.processed_set import Images
from sightline.metrics.base import Floats, Labels
from sightline.stages.baseline.config import BaselineConfig


class Method(Protocol):
    """A classifier of images.

    Attributes:
        title: What it is, for tables.
        notes: What a person should know of how it was fitted, a line each.
    """

    title: ClassVar[str]
    notes: list[str]

    def __init__(self, config: BaselineConfig, num_classes: int) -> None: ...

    def fit(self, images: Images, labels: Labels) -> None:
        """Learns from images [n, h, w, c] uint8, n >= 1, and their class indices [n]; some classes may have none."""

    def predict_proba(self, images: Images) -> Floats:
        """Returns probabilities [n, num_classes] of images of the same shape."""

    def parameters(self) -> dict[str, Any]:
        """Returns the settings that it was fitted with: what cross-validation chose, and how many images it saw."""

    def arrays(self) -> Iterable[npt.NDArray[Any]]:
        """Yields the numbers that it predicts with."""


def size(method: Method) -> int:
    """Returns the bytes of the numbers that a fitted method predicts with."""
    return sum(np.asarray(array).nbytes for array in method.arrays())
