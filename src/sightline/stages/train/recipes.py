"""Recipes of training: from random weights, from pretrained weights in full, or only the head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sightline.config.schema import Option, Registry, require
from sightline.models.options import ModelOption


@dataclass
class RecipeOption(Option):
    """Base class of recipe options.

    Attributes:
        pretrained: Whether the recipe needs pretrained weights.
    """

    pretrained: ClassVar[bool] = False


RECIPES: Registry[RecipeOption] = Registry("train/recipe")


@RECIPES.register("scratch")
@dataclass
class Scratch(RecipeOption):
    """Trains all weights with the same learning rate, as the other settings say, whether pretrained or not."""


@RECIPES.register("finetune", "auto")
@dataclass
class Finetune(RecipeOption):
    """Starts the head from the linear probe's solution, then trains all weights, with lower rates for deeper layers.

    `auto` is this recipe if `train.model.weights` is set, and `scratch` otherwise.

    Attributes:
        head_from_probe: Whether the head starts from the probe's solution; otherwise it starts at zero.
        lr_mult: Learning rate of the head relative to `train.lr`.
        layer_decay: Learning rate of a block relative to the one above it, with the head at the top.
        frozen_statistics: Whether batch norms keep the statistics of pretraining; their weights are trained anyway.
        ema_decay: Decay of an exponential moving average of the weights, used if `train.weight_averaging` is none;
            null for no average.
    """

    pretrained: ClassVar[bool] = True

    head_from_probe: bool
    lr_mult: float
    layer_decay: float
    frozen_statistics: bool
    ema_decay: float | None

    def __post_init__(self) -> None:
        require(0 < self.lr_mult <= 10, f"lr_mult: must be above 0, at most 10, not {self.lr_mult}")
        require(0 < self.layer_decay <= 1, f"layer_decay: must be in (0, 1], not {self.layer_decay}")
        decay = self.ema_decay
        require(decay is None or 0 <= decay < 1, f"ema_decay: must be in [0, 1), or null, not {decay}")


@RECIPES.register("probe")
@dataclass
class Probe(RecipeOption):
    """Linear probe: only sets the head, to a logistic regression on the frozen network's features."""

    pretrained: ClassVar[bool] = True


def recipe_of(recipe: RecipeOption, model: ModelOption) -> RecipeOption:
    """Resolves the recipe `auto`; any other is returned unchanged."""
    begins_anew = getattr(model, "weights", None) is None
    return Scratch("scratch") if recipe.name == "auto" and begins_anew else recipe


def require_weights(recipe: Option, model: Option) -> None:
    """Refuses a recipe that needs pretrained weights if the model has none.

    Raises:
        ValueError: With the name of the setting.
    """
    if isinstance(recipe, RecipeOption) and isinstance(model, ModelOption):  # not a placeholder for an invalid option
        needed = recipe_of(recipe, model).pretrained and getattr(model, "weights", None) is None
        remedy = "set train.model_options.weights" if hasattr(model, "weights") else "use efficientnet_lite0"
        require(not needed, f"recipe: {recipe.name} needs pretrained weights, {model.name} has none: {remedy}")
