"""A small network of each kind."""

from __future__ import annotations

import numpy as np
import torch

from sightline.config.schema import Option
from sightline.models.architectures.cnn import Cnn
from sightline.models.architectures.dense import Dense
from sightline.models.architectures.resnet import ResNet
from sightline.models.classifier import Classifier, build_classifier

OPTIONS: dict[str, Option] = {
    "cnn": Cnn("cnn", width=4, blocks=2, hidden=8, dropout=0.2, stem="full"),
    "dense": Dense("dense", hidden=[8, 4], dropout=0.1),
    "linear": Dense("dense", hidden=[], dropout=0.0),
    "resnet18": ResNet("resnet18", weights=None),
}
MEAN, STD = (0.3, 0.5, 0.6), (0.2, 0.25, 0.3)


def make(name: str, shape: tuple[int, int, int] = (12, 10, 3), num_classes: int = 5, seed: int = 0) -> Classifier:
    """Builds a classifier whose weights depend only on the seed."""
    torch.manual_seed(seed)
    channels = shape[2]
    return build_classifier(OPTIONS[name], shape, num_classes, MEAN[:channels], STD[:channels])


def pictures(count: int, shape: tuple[int, int, int] = (12, 10, 3), seed: int = 0) -> torch.Tensor:
    """Returns noise images, uint8 [count, H, W, C]."""
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8))
