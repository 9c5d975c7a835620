"""Interface of the baseline methods, which are fitted on labelled images and predict probabilities; their registry."""

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

    A method is registered under the name that `baseline.methods` lists. Its module is imported whenever a configuration
    is checked, so heavy libraries (scikit-learn, OpenCV) must be imported inside the functions that need them.

    Attributes:
        title: Short description, for tables.
        config: The section `baseline` of the configuration.
        num_classes: Number of classes of the whole set; some may have no training image.
        notes: Remarks for the user on how it was fitted, one line each.
    """

    title: ClassVar[str]

    def __init__(self, config: BaselineConfig, num_classes: int) -> None:
        self.config = config
        self.num_classes = num_classes
        self.notes: list[str] = []

    @abstractmethod
    def fit(self, images: Images, labels: Labels) -> None:
        """Fits the method on images [n, h, w, c] uint8, n >= 1, and their class indices [n]; classes may be missing.

        Another call fits it anew. The learning curve does that, with subsets of the images of the first call.
        """

    @abstractmethod
    def predict_proba(self, images: Images) -> Floats:
        """Returns probabilities [n, num_classes] of images of the same shape."""

    @abstractmethod
    def parameters(self) -> dict[str, Any]:
        """Returns the settings that it was fitted with: those that cross-validation chose, and the number of images."""

    @abstractmethod
    def arrays(self) -> Iterable[npt.NDArray[Any]]:
        """Returns the fitted parameters, whose total size in bytes is the method's size."""

    @property
    def size(self) -> int:
        """Size of the fitted parameters in bytes."""
        return sum(array.nbytes for array in self.arrays())


METHODS: Registry[BaselineMethod] = Registry("baseline/methods", modules="sightline.stages.baseline.methods.*")
"""The methods by name."""
