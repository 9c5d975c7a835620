"""Training, from a processed set and a configuration to the best epoch's weights."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import platform
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import (
    Callback,
    EarlyStopping,
    ModelCheckpoint,
    TQDMProgressBar,
)

from sightline import seeds
from sightline.augment import batch
from sightline.errors import UserError
from sightline.models.classifier import Classifier, build
from sightline.shards import ProcessedSet
from sightline.train import averaging
from sightline.train.checkpoint import DurableCheckpointIO
from sightline.train.config import Debug, Swa, TrainConfig, TrainerOption
from sightline.train.data import EpochSampler, Samples, balancing_weights, loader
from sightline.train.losses import class_weights
from sightline.train.module import ClassifierModule
from sightline.train.progress import HISTORY, LogMetrics, Progress, Resumed, Row

BEST = "best"
SMALL = 96  # px a side, below which augmenting whole batches was measured to be many times faster


@dataclass(frozen=True)
class Fitted:
    """What training leaves.

    Attributes:
        classifier: The model with the best epoch's weights, in evaluation mode, on the CPU.
        history: One row an epoch, with the columns of `progress.HISTORY`.
        best: The best epoch's row.
        profile: The numeric profile: what the bits of the weights depend on beside data, configuration and code.
    """

    classifier: Classifier
    history: list[Row]
    best: Row
    profile: dict[str, Any]


def fit(
    data: ProcessedSet,
    config: TrainConfig,
    checkpoints: Path,
    log: LogMetrics | None = None,
) -> Fitted:
    """Trains a model on the training split and keeps the epoch that is best on the validation split.

    Args:
        data: The processed set.
        config: The train section.
        checkpoints: Folder for the best and the last checkpoint, of this training alone; where there are some, training
            goes on from there, and ends with the weights of one that was never interrupted, bit for bit.
        log: Called with every epoch's metrics and its number.

    Raises:
        UserError: If a split is empty, the hardware asked for is not there, or no epoch ended with finite losses.
    """
    train, val = data.split("train"), data.split("val")
    for name, split in (("training", train), ("validation", val)):
        if not len(split):
            raise UserError(f"no {name} images: {data.root} has {len(data.index)} in all; change preprocess.*_fraction")
    hardware, debug = cast(TrainerOption, config.trainer), cast(Debug, config.debug)
    precision = _prepare(config, hardware)
    torch.manual_seed(seeds.derive(config.seed, "weights"))
    classifier = build(config.model, data.shape, len(data.classes), *data.statistics)
    weights = class_weights(train.labels, len(data.classes), config.class_weights)
    on_batches = config.augment_on == "batch" or (config.augment_on == "auto" and min(data.shape[:2]) < SMALL)
    policy = None if debug.overfit else config.augment
    module = ClassifierModule(
        classifier, config, len(data.classes), weights, batch.build(policy) if policy and on_batches else None
    )
    if hardware.compile:
        classifier.network.compile()  # in place: the names in the state stay as they are

    train_loader = loader(
        Samples(train, config.seed, None if on_batches else policy),
        config.batch_size,
        shuffle=not debug.overfit,
        num_workers=config.num_workers,
        weights=balancing_weights(train.labels) if config.balanced else None,
        # Batch norm cannot train on a batch of one; shuffled, every epoch leaves out another image.
        drop_last=len(train) > config.batch_size and len(train) % config.batch_size == 1,
    )
    if debug.overfit:
        val_loader = loader(Samples(train, config.seed), config.batch_size, shuffle=False, num_workers=0)
    else:
        val_loader = loader(Samples(val, config.seed), 4 * config.batch_size, shuffle=False, num_workers=0)
    resumed = Resumed.find(checkpoints)
    if resumed is not None:
        print(f"train: going on with epoch {resumed.epoch + 1}, after {resumed.batch} of its batches")
        if log is not None:  # what is told twice is the logger's to drop
            for row in resumed.rows:
                log({name: row[name] for name in HISTORY[1:]}, int(row["epoch"]))
        cast(EpochSampler, train_loader.sampler).resume(resumed.epoch, resumed.batch * config.batch_size)

    max_epochs = min(config.max_epochs, debug.epochs or config.max_epochs)
    mode = "min" if config.monitor.endswith("loss") else "max"
    # Whole, not the weights alone: only then are averaged weights in the place of those of the last step.
    keep = ModelCheckpoint(checkpoints, BEST, monitor=config.monitor, mode=mode, enable_version_counter=False)
    on_terminal = sys.stderr.isatty()
    progress = Progress(checkpoints, train_loader, log)
    # The best epoch's file before the last one's: a run cut off between the two makes the first again, the same.
    callbacks: list[Callback] = [*averaging.build(config.average, max_epochs), keep, progress]
    if not isinstance(config.average, Swa):
        callbacks.insert(0, EarlyStopping(config.monitor, patience=config.patience, mode=mode))
    if on_terminal:
        callbacks.append(TQDMProgressBar(refresh_rate=10, leave=False))
    with _quiet():
        trainer = pl.Trainer(
            accelerator=hardware.accelerator,
            devices=1,
            precision=cast(Any, precision),
            deterministic=hardware.deterministic,
            max_epochs=max_epochs,
            accumulate_grad_batches=config.accumulate,
            gradient_clip_val=config.gradient_clip,
            limit_train_batches=debug.overfit or debug.batches,
            limit_val_batches=debug.overfit or debug.batches,
            profiler=debug.profiler,
            callbacks=callbacks,
            plugins=[DurableCheckpointIO()],
            logger=False,
            enable_progress_bar=on_terminal,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            default_root_dir=checkpoints,
        )
        if resumed is None or not (resumed.stopped or resumed.epoch >= max_epochs):
            trainer.fit(
                module, train_loader, val_loader, ckpt_path=resumed.path if resumed else None, weights_only=True
            )
        rows = progress.rows or (resumed.rows if resumed else [])
        if debug.profiler:
            print(trainer.profiler.summary())  # type: ignore[attr-defined]
        best = torch.load(checkpoints / f"{BEST}.ckpt", map_location="cpu", weights_only=True)
    best_row = next(row for row in rows if row["epoch"] == best["epoch"])
    if not all(map(math.isfinite, best_row.values())):
        raise UserError(f"training diverged: val_loss is {best_row['val_loss']} in the best epoch; lower train.lr")
    module.load_state_dict(best["state_dict"])
    return Fitted(
        classifier=module.classifier.cpu().eval(),
        history=rows,
        best=best_row,
        profile=numeric_profile(config, str(trainer.strategy.root_device), precision),
    )


def _prepare(config: TrainConfig, hardware: TrainerOption) -> str:
    """Sets what must be set before the first tensor, and returns the precision to use."""
    if hardware.accelerator == "gpu" and not torch.cuda.is_available():
        raise UserError("train.trainer: gpu was asked for, but torch sees none; use train.trainer=auto or cpu")
    if hardware.accelerator == "mps" and not torch.backends.mps.is_available():
        raise UserError("train.trainer: mps was asked for, but torch sees none; use train.trainer=auto or cpu")
    torch.set_num_threads(config.threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with it
    # Deterministic mode also fills every new tensor; nothing here reads uninitialised memory, and it costs 15 %.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if hardware.precision != "auto":
        return hardware.precision
    # On a CPU without bf16 instructions, bf16 is 6 to 13 times slower; with them, it still loses on small models.
    on_gpu = hardware.accelerator in ("auto", "gpu") and torch.cuda.is_available()
    return "bf16-mixed" if on_gpu and torch.cuda.is_bf16_supported() else "32-true"


def numeric_profile(config: TrainConfig, device: str, precision: str) -> dict[str, Any]:
    """Returns what the last bits of a result depend on: equal profiles, data, configuration and code, equal bits."""
    return {
        "torch": torch.__version__,
        "machine": platform.machine(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": config.threads,
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else device,
        "precision": precision,
    }


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps Lightning's notes and tips off the terminal; warnings of substance still come through."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*treespec.*")
        warnings.filterwarnings("ignore", message=".*The number of training batches.*")
        warnings.filterwarnings("ignore", message=".*Checkpoint directory.*exists and is not empty.*")
        warnings.filterwarnings("ignore", message=".*resuming from a checkpoint that ended before the epoch ended.*")
        warnings.filterwarnings("ignore", message=".*lr_scheduler.step.*")
        yield
