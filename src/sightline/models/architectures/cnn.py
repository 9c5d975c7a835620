"""The option `cnn`: a small convolutional network."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Self

from sightline.config.schema import require, require_one_of
from sightline.models.options import MODELS, ModelOption

if TYPE_CHECKING:
    from torch import nn

LARGE = 48
"""Length of the shorter side, in pixels, from which `stem: auto` means `half`."""


@MODELS.register("cnn")
@dataclass
class Cnn(ModelOption):
    """Small convolutional network: blocks of two 3x3 convolutions with batch norm and pooling, then dense layers.

    Attributes:
        width: Channels of the first block; each further block has twice as many.
        blocks: Number of blocks, 1 to 6; each halves height and width. None chooses two to five, such that the last map
            is about four pixels on its shorter side.
        hidden: Units of the dense layer before the last one.
        dropout: Fraction of that layer's units dropped in training, 0 to below 1.
        stem: `full`: the first block computes at the image's size. `half`: the first convolution has stride 2 and the
            last block no pooling, which takes a quarter of the computation. `auto`: `half` if the shorter side is at
            least 48 pixels, else `full`. Models saved before this setting existed have `full`.
    """

    width: int
    blocks: int | None
    hidden: int
    dropout: float
    stem: str

    EARLIER: ClassVar[Mapping[str, object]] = MappingProxyType({"stem": "full"})

    def __post_init__(self) -> None:
        require(self.width > 0, f"width: must be positive, not {self.width}")
        require(self.blocks is None or 1 <= self.blocks <= 6, f"blocks: must be 1 to 6, not {self.blocks}")
        require(self.hidden > 0, f"hidden: must be positive, not {self.hidden}")
        require(0 <= self.dropout < 1, f"dropout: must be in [0, 1), not {self.dropout}")
        require_one_of("stem", self.stem, ("auto", "full", "half"))

    def blocks_for(self, height: int, width: int) -> int:
        """Returns the number of blocks for images of this size: one more block for twice the shorter side.

        >>> [Cnn("cnn", 32, None, 128, 0.2, "full").blocks_for(side, side) for side in (8, 16, 28, 64, 224)]
        [2, 2, 3, 4, 5]
        """
        if self.blocks is not None:
            return self.blocks
        return min(5, max(2, round(math.log2(min(height, width) / 4))))

    def fitted_to(self, height: int, width: int) -> Self:
        """Returns the option with the number of blocks and the stem for images of this size.

        >>> cnn = Cnn("cnn", 32, None, 128, 0.2, "auto")
        >>> [cnn.fitted_to(side, side).stem for side in (16, 28, 47, 48, 224)]
        ['full', 'full', 'full', 'half', 'half']
        """
        stem = ("half" if min(height, width) >= LARGE else "full") if self.stem == "auto" else self.stem
        return dataclasses.replace(self, blocks=self.blocks_for(height, width), stem=stem)

    def build(self, shape: tuple[int, int, int], num_classes: int) -> nn.Module:
        from sightline.models.cnn_network import CnnNetwork

        height, width, channels = shape
        blocks, half = self.blocks_for(height, width), self.fitted_to(height, width).stem == "half"
        return CnnNetwork(channels, num_classes, self.width, blocks, self.hidden, self.dropout, half)
