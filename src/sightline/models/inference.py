"""A stored model as a function from pixels to probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from sightline.core.errors import UserError
from sightline.models import saved_model
from sightline.models.classifier import Classifier
from sightline.models.model_info import ModelInfo
from sightline.models.view_average import ViewAverage


class Predictor:
    """Calls a classifier on uint8 images [n, H, W, C] and returns float64 probabilities [n, K].

    Attributes:
        classifier: The model, in evaluation mode, on the CPU.
        info: The content of `model.json`.
        module: The module that maps images to logits: the classifier, or its average over views of each image.
    """

    def __init__(self, classifier: Classifier, info: ModelInfo, views: Sequence[str] = ()) -> None:
        self.classifier = classifier
        self.info = info
        self.module: nn.Module = ViewAverage(classifier, views).eval() if views else classifier

    @classmethod
    def load(cls, folder: Path, views: Sequence[str] = ()) -> Predictor:
        """Loads the model in `folder`, and sets PyTorch's number of threads to the one that it was trained with.

        Args:
            folder: The folder of the model.
            views: Views to average over, in addition to the image itself; see `view_average.VIEWS`.

        Raises:
            UserError: If the model is missing or damaged.
        """
        classifier, info = saved_model.load_model(folder)
        if info.threads is not None:
            torch.set_num_threads(info.threads)
        return cls(classifier, info, views)

    def check_classes(self, classes: list[str]) -> None:
        """Raises UserError unless `classes` are those that the model was trained on."""
        if classes != self.info.classes:
            raise UserError(
                f"the model has the classes {', '.join(self.info.classes)}, the data has {', '.join(classes)}: train "
                "again"
            )

    @torch.inference_mode()
    def __call__(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        logits = self.module(torch.from_numpy(images))
        # Double precision, so that rows sum to 1 more exactly than any metric can notice.
        return torch.softmax(logits.double(), dim=1).numpy()
