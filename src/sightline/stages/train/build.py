"""Construction of the parts of a training run: the network with its loss, and the loaders of its two splits."""

from __future__ import annotations

from pathlib import Path

import torch

from sightline.core import seeds
from sightline.core.errors import UserError
from sightline.datasets.processed_set import ProcessedSet
from sightline.imaging.augment import torch_backend
from sightline.models import start_model
from sightline.models.classifier import build_classifier
from sightline.predict.teacher import soft_targets
from sightline.stages.train import hardware
from sightline.stages.train.class_weights import class_weights
from sightline.stages.train.config import TrainConfig
from sightline.stages.train.dataloader import DirectLoader, SampleDataset, TimedDataLoader, loader
from sightline.stages.train.lightning_module import ClassifierModule
from sightline.stages.train.options import TrainerOption
from sightline.stages.train.outlier_exposure import OutlierExposure
from sightline.stages.train.recipes import Finetune, recipe_of
from sightline.stages.train.samplers import EpochBatchSampler, EpochSampler, balancing_weights


def check_splits(data: ProcessedSet, batch_size: int, world: int) -> None:
    """Checks that there are enough training and validation images for each of `world` processes.

    Raises:
        UserError: If there are not.
    """
    for name, split, wanted in (("training", "train", 2 * world), ("validation", "val", world)):
        count = len(data.split(split))
        if not count:
            raise UserError(f"no {name} images: {data.root} has {len(data.index)} in all; change preprocess.*_fraction")
        if world > 1 and count < wanted:
            raise UserError(f"train.trainer.devices: {world} processes need {wanted} {name} images, there are {count}")
    if world > 1 and batch_size < 2 * world:
        raise UserError(
            f"train.batch_size: {batch_size} images are too few for {world} processes: at least {2 * world}"
        )


def network(data: ProcessedSet, config: TrainConfig) -> ClassifierModule:
    """Builds the network, its loss and its augmentation of batches.

    Args:
        data: The processed set.
        config: The train section; `start_from` is None for random or pretrained weights, or else the folder of a model
            (`TrainingRun` resolves other references).
    """
    torch.manual_seed(seeds.derive(config.seed, "weights"))
    classifier = build_classifier(config.model, data.shape, len(data.classes), *data.statistics)
    if config.start_from is not None:
        start_model.begin(classifier, Path(config.start_from), data.classes)
    weights = class_weights(data.split("train").labels, len(data.classes), config.class_weights)
    recipe = recipe_of(config.recipe, config.model)
    finetune = recipe if isinstance(recipe, Finetune) else None
    augment = not config.debug.overfit and config.augment_on == "batch"
    module = ClassifierModule(
        classifier,
        loss=config.loss.build(weights),
        optimizer=config.optimizer,
        schedule=config.schedule,
        seed=config.seed,
        lr_mult=finetune.lr_mult if finetune else 1.0,
        layer_decay=finetune.layer_decay if finetune else 1.0,
        backbone_lr_mult=config.backbone_lr_mult,
        freeze_epochs=config.freeze_epochs,
        frozen_statistics=finetune is not None and finetune.frozen_statistics,
        augment=torch_backend.build(config.augment) if augment else None,
        mix=config.mix.build(len(data.classes)),
        exposure=None if config.debug.overfit else exposure(data, config),
    )
    if config.trainer.compile:
        classifier.network.compile()  # in place, which keeps the names in the state dict
    return module


def exposure(data: ProcessedSet, config: TrainConfig) -> OutlierExposure | None:
    """Returns the images of none of the classes for outlier exposure; None if `unknown_weight` is 0.

    Raises:
        UserError: If `unknown_weight` is set but there are no such images.
    """
    if not config.unknown_weight:
        return None
    unknown = data.unknown
    if unknown is None:
        raise UserError(f"train.unknown_weight: {config.unknown_weight:g} needs unknown images: set ingest.unknown")
    return OutlierExposure(unknown.split("val"), config.unknown_weight, config.seed)


def loaders(
    data: ProcessedSet, config: TrainConfig, rank: int = 0, world: int = 1
) -> tuple[TimedDataLoader | DirectLoader, DirectLoader]:
    """Returns the loaders of the training and validation splits for one of `world` processes."""
    train, val = data.split("train"), data.split("val")
    overfit = config.debug.overfit
    policy = None if overfit or config.augment_on == "batch" else config.augment
    targets = None
    if config.teacher is not None and not overfit:
        targets = soft_targets(config.teacher, config.teacher_share, data, config.threads)
    samples = SampleDataset(train, config.seed, policy, targets)
    order = EpochSampler(
        len(train),
        config.seed,
        shuffle=not overfit,
        weights=balancing_weights(train.labels) if config.balanced_sampling else None,
    )
    batches = EpochBatchSampler(order, config.batch_size, rank, world)
    train_loader = _loader(config, samples, batches, rank)
    seen, size = (train, config.batch_size) if overfit else (val, 4 * config.batch_size)
    in_order = EpochBatchSampler(EpochSampler(len(seen), config.seed, shuffle=False), size, rank, world)
    return train_loader, DirectLoader(SampleDataset(seen, config.seed), in_order)


def _loader(
    config: TrainConfig, samples: SampleDataset, batches: EpochBatchSampler, rank: int
) -> TimedDataLoader | DirectLoader:
    """Returns the training split's loader, with worker processes only where they pay: to augment or to read ahead."""
    place = device(config.trainer, rank % max(1, torch.cuda.device_count()))
    if samples.augments:
        if config.cache_in_memory == "always":
            raise UserError("train.cache_in_memory: always needs train.augment_on=batch, or train.augment=none")
        return loader(samples, batches, config.num_workers)
    fits = hardware.has_room(place, len(samples) * samples.bytes_each)
    if config.cache_in_memory == "always" or (config.cache_in_memory == "auto" and fits):
        return DirectLoader(samples, batches, place)
    return loader(samples, batches, config.num_workers) if config.num_workers else DirectLoader(samples, batches)


def device(hardware_option: TrainerOption, local_rank: int = 0) -> torch.device:
    """Returns the device that a process uses."""
    accelerator = hardware_option.accelerator
    if accelerator in ("auto", "gpu") and torch.cuda.is_available():
        return torch.device("cuda", local_rank)
    if accelerator in ("auto", "mps") and torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")
