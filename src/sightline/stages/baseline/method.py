"""A baseline method: fitted on images and labels, asked for probabilities; and the registry of all of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from sightline.config.schema import Registry

if TYPE_CHECKING:
    import numpy.typing as npt

    from sightline.datasets.processed_set import Images
    from sightline.metrics.base import Floats, Labels
    from sightline.stages.baseline.config import BaselineConfig


class BaselineMethod(ABC):
    """A classifier of images.

    A method is registered under its name, which is what `baseline.methods` lists. Its module is imported whenever a
    configuration is checked: heavy libraries (scikit-learn, OpenCV) are imported inside the functions that need them.

    Attributes:
        title: Short description, for tables.
        config: The section `baseline` of the configuration.
        num_classes: Of the whole set; some may have no training image.
        notes: Remarks for the user on how it was fitted, a line each.
    """

    title: ClassVar[str]

    def __init__(self, config: BaselineConfig, num_classes: int) -> None:
        self.config = config
        self.num_classes = num_classes
        self.notes: list[str] = []

    @abstractmethod
    def fit(self, images: Images, labels: Labels) -> None:
        """Learns from images [n, h, w, c] uint8, n >= 1, and their class indices [n]; some classes may have none.

        Once more, it learns anew, for the learning curve: from a part of the images that it had before.
        """

    @abstractmethod
    def predict_proba(self, images: Images) -> Floats:
        """Returns probabilities [n, num_classes] of images of the same shape."""

    @abstractmethod
    def parameters(self) -> dict[str, Any]:
        """Returns the settings that it was fitted with: what cross-validation chose, and how many images it saw."""

    @abstractmethod
    def arrays(self) -> Iterable[npt.NDArray[Any]]:
        """Yields the numbers that it predicts with; their bytes are its size."""

    @property
    def size(self) -> int:
        """Bytes of the numbers that the fitted method predicts with."""
        return sum(array.nbytes for array in self.arrays())


METHODS: Registry[BaselineMethod] = Registry("baseline/methods", modules="sightline.stages.baseline.methods.*")
"""The methods by name."""
