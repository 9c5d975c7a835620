"""Averages of the weights, which are used for validation and for the saved model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sightline.config.schema import Option, Registry, require

if TYPE_CHECKING:
    from pytorch_lightning.callbacks import Callback


@dataclass
class WeightAveragingOption(Option):
    """Base class of weight-averaging options."""

    @property
    def stops_early(self) -> bool:
        """Whether training may end before its last epoch."""
        return True

    def build(self, epochs: int) -> Callback | None:
        """Builds the callback that averages over at most `epochs` epochs; None if nothing is averaged."""
        raise NotImplementedError(f"{type(self).__name__} has no build()")


WEIGHT_AVERAGING: Registry[WeightAveragingOption] = Registry("train/weight_averaging")


@WEIGHT_AVERAGING.register("none")
@dataclass
class NoWeightAveraging(WeightAveragingOption):
    """No averaging: the weights of the last step."""

    def build(self, epochs: int) -> Callback | None:
        return None


@WEIGHT_AVERAGING.register("ema")
@dataclass
class Ema(WeightAveragingOption):
    """Exponential moving average of the weights.

    Attributes:
        decay: Decay of the average per step, 0 to below 1.
    """

    decay: float

    def __post_init__(self) -> None:
        require(0 <= self.decay < 1, f"decay: must be in [0, 1), not {self.decay}")

    def build(self, epochs: int) -> Callback | None:
        from pytorch_lightning.callbacks import EMAWeightAveraging

        return EMAWeightAveraging(decay=self.decay)


@WEIGHT_AVERAGING.register("swa")
@dataclass
class Swa(WeightAveragingOption):
    """Mean of the weights at the end of the last epochs (stochastic weight averaging, Izmailov et al. 2018).

    All epochs are trained, since early stopping would omit those to be averaged.

    Attributes:
        start: Share of the epochs after which averaging begins, 0 to below 1.
    """

    start: float

    def __post_init__(self) -> None:
        require(0 <= self.start < 1, f"start: must be in [0, 1), not {self.start}")

    @property
    def stops_early(self) -> bool:
        return False

    def build(self, epochs: int) -> Callback | None:
        from sightline.stages.train.stochastic_weight_averaging import StochasticWeightAveraging

        return StochasticWeightAveraging(int(self.start * epochs))
