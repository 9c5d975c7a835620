"""Recipes: how a network gets its weights. From random ones, from pretrained ones in full, or by its head alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sightline.config.schema import Option, Registry, require
from sightline.models.options import ModelOption


@dataclass
class RecipeOption(Option):
    """Base of every recipe's option.

    Attributes:
        pretrained: Whether it needs pretrained weights.
    """

    pretrained: ClassVar[bool] = False


RECIPES: Registry[RecipeOption] = Registry("train/recipe")


@RECIPES.register("scratch")
@dataclass
class Scratch(RecipeOption):
    """All weights are trained, at one learning rate and as the other knobs have it, whatever they begin with."""


@RECIPES.register("finetune", "auto")
@dataclass
class Finetune(RecipeOption):
    """The head begins with the linear probe's solution, then all weights learn, the deeper the less.

    `auto` is this recipe where `train.model.weights` are set, and `scratch` where they are not.

    Attributes:
        head_from_probe: Whether the head begins with the probe's solution; else at zero.
        lr_mult: Learning rate of the head as a share of `train.lr`.
        layer_decay: Learning rate of a block as a share of the one above it, the head at the top.
        frozen_statistics: Whether batch norms keep the pretraining's statistics; their weights learn all the same.
        ema_decay: Share that a step leaves of the exponential moving average of the weights, where
            `train.weight_averaging` is none; null for no average.
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
    """The linear probe: a logistic regression on the frozen network's features becomes its head, and that is all."""

    pretrained: ClassVar[bool] = True


def recipe_of(recipe: RecipeOption, model: ModelOption) -> RecipeOption:
    """Returns the recipe that `auto` stands for; any other is itself."""
    begins_anew = getattr(model, "weights", None) is None
    return Scratch("scratch") if recipe.name == "auto" and begins_anew else recipe


def require_weights(recipe: Option, model: Option) -> None:
    """Refuses a recipe that needs pretrained weights where there are none.

    Raises:
        ValueError: Naming the knob.
    """
    if isinstance(recipe, RecipeOption) and isinstance(model, ModelOption):  # no stand-in for one that is at fault
        needed = recipe_of(recipe, model).pretrained and getattr(model, "weights", None) is None
        remedy = "set train.model_options.weights" if hasattr(model, "weights") else "use efficientnet_lite0"
        require(not needed, f"recipe: {recipe.name} needs pretrained weights, {model.name} has none: {remedy}")
