"""Training, from a processed set and a configuration to the best epoch's weights."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from pytorch_lightning.callbacks import Callback, EarlyStopping
from pytorch_lightning.strategies import DDPStrategy

from sightline.core.errors import UserError
from sightline.datasets.predictions import Predictions
from sightline.datasets.processed_set import ProcessedSet
from sightline.metrics.base import predicted_classes
from sightline.models.classifier import Classifier
from sightline.stages.train import checkpoint_io, ddp, hardware, resume
from sightline.stages.train.build import check_splits, device, loaders, network
from sightline.stages.train.checkpointing import HISTORY, EpochMetrics, LogMetrics, TrainingCheckpoint
from sightline.stages.train.config import TrainConfig
from sightline.stages.train.lightning_module import ClassifierModule
from sightline.stages.train.options import TrainerOption
from sightline.stages.train.probe_head import start_head
from sightline.stages.train.recipes import Finetune, recipe_of
from sightline.stages.train.training_progress import TrainingProgress
from sightline.stages.train.weight_averaging import Ema, NoWeightAveraging

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FitResult:
    """The result of fitting a model.

    Attributes:
        classifier: The model with the best epoch's weights, in evaluation mode, on the CPU.
        history: One row per epoch, with the columns of `checkpointing.HISTORY`.
        best: The best epoch's row.
        profile: The numeric profile: everything else, besides data, configuration and code, that affects the bits of
            the weights.
        validation: The model's predictions for the validation images.
    """

    classifier: Classifier
    history: list[EpochMetrics]
    best: EpochMetrics
    profile: dict[str, Any]
    validation: Predictions


def fit(
    data: ProcessedSet,
    config: TrainConfig,
    checkpoints: Path,
    log: LogMetrics | None = None,
) -> FitResult:
    """Trains a model on the training split and keeps the epoch that is best on the validation split.

    With several devices, this is the first process's part: the others call `join`.

    Args:
        data: The processed set.
        config: The train section.
        checkpoints: Folder for the checkpoints of this run only. If it has some, training resumes from there, and ends
            with the same weights as an uninterrupted run, bit for bit.
        log: Called with every epoch's metrics and its number.

    Raises:
        UserError: If a split is empty, the configured hardware is not available, or no epoch ended with finite losses.
    """
    precision = hardware.prepare(config.trainer, config.threads)
    world = hardware.world_size(config.trainer)
    check_splits(data, config.batch_size, world)
    with ddp.processes(world, data.root, config, checkpoints):
        module, trainer, rows = _train(data, config, checkpoints, precision, 0, world, log)
        device = str(trainer.strategy.root_device)
        best = _best(checkpoints / checkpoint_io.BEST)
    best_row = next(row for row in rows if row["epoch"] == best["epoch"])
    if not all(map(math.isfinite, best_row.values())):
        shutil.rmtree(checkpoints)  # there is nothing worth resuming from
        raise UserError(f"training diverged: val_loss is {best_row['val_loss']} in the best epoch; lower train.lr")
    module.load_state_dict(best["state_dict"])
    validation = predict_validation(module.classifier, data, config.batch_size, device)
    return FitResult(
        classifier=module.classifier.cpu().eval(),
        history=rows,
        best=best_row,
        profile=hardware.numeric_profile(config.trainer, config.threads, device, precision),
        validation=validation,
    )


@torch.inference_mode()
def predict_validation(
    classifier: Classifier, data: ProcessedSet, batch_size: int, device: str | torch.device
) -> Predictions:
    """Returns a network's predictions for the validation images, computed in single precision on `device`."""
    classifier = classifier.to(device).eval()
    split = data.split("val")
    batches = (split.images(slice(start, start + batch_size)) for start in range(0, len(split), batch_size))
    logits = torch.cat([classifier(torch.from_numpy(batch).to(device)).cpu() for batch in batches])
    probabilities = torch.softmax(logits.double(), dim=1).numpy()
    return Predictions(split.ids, split.labels, predicted_classes(probabilities), probabilities, data.classes)


def _best(path: Path) -> dict[str, Any]:
    try:
        return checkpoint_io.read_checkpoint(path)
    except checkpoint_io.DamagedError:
        aside = checkpoint_io.set_aside(path)
        raise UserError(
            f"{path} was damaged during training, and is now {aside.name}: the same command restarts training"
        ) from None


def join(data: ProcessedSet, config: TrainConfig, checkpoints: Path) -> None:
    """Takes part in a training run that another process leads by `fit`; this one's rank is in the environment."""
    precision = hardware.prepare(config.trainer, config.threads)
    world = hardware.world_size(config.trainer)
    with ddp.processes(world, data.root, config, checkpoints) as rank:
        _train(data, config, checkpoints, precision, rank, world, None)


def _train(
    data: ProcessedSet,
    config: TrainConfig,
    checkpoints: Path,
    precision: str,
    rank: int,
    world: int,
    log: LogMetrics | None,
) -> tuple[ClassifierModule, pl.Trainer, list[EpochMetrics]]:
    """Trains, or resumes training, to the end; the best epoch is then in the folder of checkpoints."""
    debug = config.debug
    module = network(data, config)
    train_loader, val_loader = loaders(data, config, rank, world)
    resumed = resume.find_checkpoint(checkpoints, report=rank == 0)
    if resumed is not None:
        if log is not None:  # the logger drops duplicates
            for row in resumed.rows:
                log({name: row[name] for name in HISTORY[1:]}, int(row["epoch"]))
        train_loader.batches.resume(resumed.epoch, resumed.batch)
    recipe = recipe_of(config.recipe, config.model)
    finetune = recipe if isinstance(recipe, Finetune) else None
    from_probe = finetune is not None and finetune.head_from_probe and config.start_from is None
    if from_probe and resumed is None and rank == 0:  # the first process, whose weights the others receive
        start_head(module.classifier, data, config, device(config.trainer))

    max_epochs = min(config.max_epochs, debug.epochs or config.max_epochs)
    mode = "min" if config.monitor.endswith("loss") else "max"
    keep = checkpoint_io.BestCheckpoint(checkpoints, config.monitor, mode)
    progress = TrainingCheckpoint(checkpoints, train_loader, log, shown=rank == 0)
    # The best epoch's file is written before the last one's: a run killed in between repeats the epoch identically.
    averaging = config.weight_averaging
    if finetune and finetune.ema_decay is not None and isinstance(averaging, NoWeightAveraging):
        averaging = Ema("ema", finetune.ema_decay)
    average = averaging.build(max_epochs)
    callbacks: list[Callback] = [*([average] if average else []), keep, progress]
    if averaging.stops_early:
        callbacks.insert(0, EarlyStopping(config.monitor, patience=config.patience, mode=mode))
    if rank == 0:
        begun = (resumed.epoch, resumed.batch) if resumed else (0, 0)
        callbacks.append(TrainingProgress(train_loader.batches.sizes, begun))
    with quiet():
        trainer = pl.Trainer(
            **placement(config.trainer, precision, world, frozen=config.freeze_epochs > 0),
            max_epochs=max_epochs,
            accumulate_grad_batches=config.accumulate,
            gradient_clip_val=config.gradient_clip,
            limit_train_batches=debug.overfit or debug.batches,
            limit_val_batches=debug.overfit or debug.batches,
            profiler=debug.profiler,
            callbacks=callbacks,
            enable_progress_bar=False,
            default_root_dir=checkpoints,
        )
        if resumed is None or not (resumed.stopped or resumed.epoch >= max_epochs):
            trainer.fit(
                module, train_loader, val_loader, ckpt_path=resumed.path if resumed else None, weights_only=True
            )
        if debug.profiler and rank == 0:
            _log.info("%s", trainer.profiler.summary())  # type: ignore[attr-defined]
    return module, trainer, progress.rows or (resumed.rows if resumed else [])


def placement(option: TrainerOption, precision: str, world: int, frozen: bool = False) -> dict[str, Any]:
    """Returns the arguments of Lightning's `Trainer` for hardware, precision, checkpoint files and quiet output."""
    arguments: dict[str, Any] = {
        "accelerator": option.accelerator,
        "devices": world // option.nodes,
        "num_nodes": option.nodes,
        "precision": precision,
        "deterministic": option.deterministic,
        "plugins": [checkpoint_io.DurableCheckpointIO()],
        "logger": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "use_distributed_sampler": False,
    }
    if world > 1:
        # Frozen weights get no gradient, which DDP would otherwise wait for.
        arguments["strategy"] = DDPStrategy(find_unused_parameters=frozen)
        arguments["sync_batchnorm"] = torch.cuda.is_available()  # torch supports it only on GPUs
        slurm = SLURMEnvironment.detect() and "RANK" not in os.environ
        arguments["plugins"].append(SLURMEnvironment(auto_requeue=False) if slurm else TorchElasticEnvironment())
    return arguments


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppresses Lightning's notes, tips and known harmless warnings; other warnings are still shown."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*treespec.*")
        warnings.filterwarnings("ignore", message=".*in eval mode at the start of training.*")  # frozen statistics
        warnings.filterwarnings("ignore", message=".*The number of training batches.*")
        warnings.filterwarnings("ignore", message=".*Checkpoint directory.*exists and is not empty.*")
        warnings.filterwarnings("ignore", message=".*resuming from a checkpoint that ended before the epoch ended.*")
        warnings.filterwarnings("ignore", message=".*lr_scheduler.step.*")
        warnings.filterwarnings("ignore", message=".*no `val_dataloader`.*")
        warnings.filterwarnings("ignore", message=".*sync_dist=True.*")  # logged values are summed already
        yield
