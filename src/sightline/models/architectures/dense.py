"""The option `dense`: a plain dense network, a baseline for convolutional networks."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sightline.config.schema import require
from sightline.models.options import MODELS, ModelOption

if TYPE_CHECKING:
    from torch import nn


@MODELS.register("dense")
@dataclass
class Dense(ModelOption):
    """Fully connected network on the pixels: a baseline to beat.

    Attributes:
        hidden: Units of each hidden layer.
        dropout: Fraction of units dropped after each hidden layer in training, 0 to below 1.
    """

    hidden: list[int]
    dropout: float

    def __post_init__(self) -> None:
        require(all(units > 0 for units in self.hidden), f"hidden: units must be positive, not {self.hidden}")
        require(0 <= self.dropout < 1, f"dropout: must be in [0, 1), not {self.dropout}")

    def build(self, shape: tuple[int, int, int], num_classes: int) -> nn.Module:
        from torch import nn

        height, width, channels = shape
        sizes = [height * width * channels, *self.hidden]
        layers: list[nn.Module] = [nn.Flatten()]
        for units_in, units_out in itertools.pairwise(sizes):
            layers += [nn.Linear(units_in, units_out), nn.ReLU(), nn.Dropout(self.dropout)]
        layers.append(nn.Linear(sizes[-1], num_classes))
        return nn.Sequential(OrderedDict(layers=nn.Sequential(*layers)))  # stored models name them `layers.<n>`
