"""The schema of the train section; imports nothing heavy."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sightline.config.schema import Option, choice, require, require_one_of
from sightline.imaging.augment.options import POLICIES
from sightline.models.options import MODELS, ModelOption
from sightline.stages.train.losses import LOSSES, LossOption
from sightline.stages.train.mixing import MIXINGS, MixingOption
from sightline.stages.train.optimizers import OPTIMIZERS, OptimizerOption
from sightline.stages.train.options import DEBUGS, TRAINERS, DebugOption, TrainerOption
from sightline.stages.train.recipes import RECIPES, RecipeOption, require_weights
from sightline.stages.train.schedules import SCHEDULES, ScheduleOption
from sightline.stages.train.weight_averaging import WEIGHT_AVERAGING, WeightAveragingOption

MONITORS = ("val_loss", "val_accuracy")


@dataclass(kw_only=True)
class TrainConfig:
    """The train section.

    Attributes:
        model: The network.
        recipe: Choice of the weights that are trained: all from scratch, all after pretraining, or only the head.
        optimizer: The optimiser.
        schedule: The learning-rate schedule.
        loss: The loss function.
        augment: Online augmentation.
        mix: Blending of images within a batch.
        weight_averaging: Averaging of weights over steps.
        trainer: The hardware.
        debug: Short runs for debugging.
        augment_on: Place of augmentation: "batch" (a whole batch on the network's device) or "albumentations" (one
            image at a time, in the loader); their random draws differ.
        cache_in_memory: Whether to hold all training images in the memory of the device (GPU or CPU): "always",
            "never" (they stay in their memory-mapped files), or "auto" (if they take at most a quarter of the free
            memory). Images that are augmented one at a time are never cached.
        lr: Peak learning rate.
        batch_size: Images per batch, over all devices.
        accumulate: Batches whose gradients are accumulated for one optimiser step.
        gradient_clip: Maximum gradient norm; null disables clipping.
        max_epochs: Maximum number of passes over the training split.
        patience: Epochs without improvement of `monitor` before training stops early.
        monitor: The validation metric that determines the best epoch.
        class_weights: Weight of a class in the loss: "none", "inverse" of its frequency, or by its "effective" number
            of images (Cui et al. 2019).
        balanced_sampling: Whether to draw every class equally often, regardless of its number of images.
        freeze_epochs: Number of initial epochs in which only the network's head is trained.
        backbone_lr_mult: Learning rate of the backbone relative to the head's.
        teacher: Folder of a bundle whose probabilities the network learns in addition to the labels (knowledge
            distillation); null for none.
        teacher_share: Share of the teacher's probabilities in the target.
        start_from: The model whose weights training starts from: "champion" of the registered model, or another
            version (`models:/name@alias`, `models:/name/3`), or the folder of a trained model or a bundle; null for
            none. The head keeps the rows of the classes that it knows, and starts those of new ones at zero.
        unknown_weight: Weight of the additional loss on images of none of the classes (`ingest.unknown`), whose target
            is the same probability for all classes (outlier exposure); 0 disables it.
        seed: All randomness is derived from it.
        threads: Number of CPU threads, which affects the last bits of results.
        num_workers: Number of data-loader processes, which does not affect results.
    """

    model: ModelOption = choice(MODELS)
    recipe: RecipeOption = choice(RECIPES)
    optimizer: OptimizerOption = choice(OPTIMIZERS)
    schedule: ScheduleOption = choice(SCHEDULES)
    loss: LossOption = choice(LOSSES)
    augment: Option = choice(POLICIES)
    mix: MixingOption = choice(MIXINGS)
    weight_averaging: WeightAveragingOption = choice(WEIGHT_AVERAGING)
    trainer: TrainerOption = choice(TRAINERS)
    debug: DebugOption = choice(DEBUGS)
    augment_on: str
    cache_in_memory: str
    lr: float
    batch_size: int
    accumulate: int
    gradient_clip: float | None
    max_epochs: int
    patience: int
    monitor: str
    class_weights: str
    balanced_sampling: bool
    freeze_epochs: int
    backbone_lr_mult: float
    teacher: str | None
    teacher_share: float
    start_from: str | None
    unknown_weight: float
    seed: int
    threads: int
    num_workers: int

    def __post_init__(self) -> None:
        require(0 < self.lr < math.inf, f"lr: must be positive and finite, not {self.lr}")
        for name in ("batch_size", "accumulate", "max_epochs", "patience", "threads"):
            require(getattr(self, name) >= 1, f"{name}: must be at least 1, not {getattr(self, name)}")
        for name in ("freeze_epochs", "seed", "num_workers"):
            require(getattr(self, name) >= 0, f"{name}: must be at least 0, not {getattr(self, name)}")
        require(self.gradient_clip is None or self.gradient_clip > 0, "gradient_clip: must be positive, or null")
        require(0 < self.backbone_lr_mult <= 1, f"backbone_lr_mult: must be in (0, 1], not {self.backbone_lr_mult}")
        require(self.teacher != "", "teacher: must be a bundle's folder or null, not empty")
        require(0 < self.teacher_share <= 1, f"teacher_share: must be in (0, 1], not {self.teacher_share}")
        require(self.start_from != "", "start_from: must be champion, a folder or null, not empty")
        require(0 <= self.unknown_weight <= 10, f"unknown_weight: must be in [0, 10], not {self.unknown_weight}")
        all_learn = "auto, scratch, finetune"
        for key, value, choice_name, option, allowed in (
            ("teacher", self.teacher, "mix", self.mix, "none"),
            ("teacher", self.teacher, "recipe", self.recipe, all_learn),
            ("start_from", self.start_from, "recipe", self.recipe, all_learn),
            ("unknown_weight", self.unknown_weight or None, "recipe", self.recipe, all_learn),
        ):
            refused = value is not None and option.name not in allowed.split(", ")
            require(not refused, f"{key}: needs {choice_name} {allowed}, not {option.name}")
        require_weights(self.recipe, self.model)
        require_one_of("monitor", self.monitor, MONITORS)
        require_one_of("augment_on", self.augment_on, ("batch", "albumentations"))
        require_one_of("cache_in_memory", self.cache_in_memory, ("auto", "always", "never"))
        require_one_of("class_weights", self.class_weights, ("none", "inverse", "effective"))
