"""Short trials before a training: which learning rate, and how large a batch."""

from __future__ import annotations

import dataclasses
import io
import itertools
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.tuner.tuning import Tuner

from sightline.core import files
from sightline.core.errors import UserError
from sightline.datasets.processed_set import ProcessedSet
from sightline.stages.train import build, hardware
from sightline.stages.train.config import TrainConfig
from sightline.stages.train.fit import placement, quiet
from sightline.stages.train.lightning_module import ClassifierModule
from sightline.stages.train.probe_head import start_head
from sightline.stages.train.recipes import Finetune, recipe_of

LOWEST, HIGHEST = 1e-6, 1.0
SMOOTHING = 0.98  # of Lightning's finder
UNSETTLED = 10  # first steps, of which the average is of too few losses to have a slope
SECONDS_EACH = 2.0  # of steady work for each batch size
WARM_UP = 3  # batches: the first ones pay for what is made once
MOST_EPOCHS = 10_000  # of a set that is a batch or two: the clock ends the trial
NEAR_BEST = 0.95


@dataclass(frozen=True)
class RateCurve:
    """The result of a learning-rate range test (Smith 2017, "Cyclical learning rates for training neural networks").

    Attributes:
        rates: The learning rates that were tried, a step each, rising exponentially.
        losses: The training loss after each, smoothed.
        suggestion: The rate at which the loss falls fastest; None where it never does.
    """

    rates: list[float]
    losses: list[float]
    suggestion: float | None


def learning_rates(data: ProcessedSet, config: TrainConfig, steps: int) -> RateCurve:
    """Trains for some steps while the learning rate rises, by Lightning's own finder; nothing is kept.

    Args:
        data: The processed set.
        config: The train section.
        steps: Optimiser steps.

    Raises:
        UserError: If there is nothing to train on, or the trainer asks for several devices.
    """
    precision = _prepare(data, config)
    module = build.network(data, config)
    recipe = recipe_of(config.recipe, config.model)
    if isinstance(recipe, Finetune) and recipe.head_from_probe and config.start_from is None:
        start_head(module.classifier, data, config, build.device(config.trainer))
    vars(module)["learning_rate"] = config.lr  # Lightning asks for the attribute; ours stands in the configuration
    train_loader, _ = build.loaders(data, config)
    with tempfile.TemporaryDirectory() as folder, quiet():
        trainer = pl.Trainer(
            **placement(config.trainer, precision, 1),
            default_root_dir=folder,
            enable_progress_bar=False,
            max_epochs=steps,
        )
        finder = Tuner(trainer).lr_find(
            module,
            train_dataloaders=train_loader,
            min_lr=LOWEST,
            max_lr=HIGHEST,
            num_training=steps,
            update_attr=False,
            attr_name="learning_rate",
        )
        if finder is None:
            raise RuntimeError("Lightning's learning-rate finder returned nothing")
    rates, losses = finder.results["lr"], unbiased(finder.results["loss"])
    return RateCurve(list(map(float, rates)), losses.tolist(), suggested(rates, losses))


def unbiased(smoothed: Sequence[float]) -> npt.NDArray[np.float64]:
    """Returns the smoothed losses of Lightning's finder without its bias at the start.

    It averages exponentially from 0 and divides by 1 - b^(step + 1), where the step is already the next one: its first
    loss is half of what it was, and the curve seems to rise.
    """
    powers = SMOOTHING ** np.arange(1, len(smoothed) + 1)
    corrected: npt.NDArray[np.float64] = np.asarray(smoothed, np.float64) * (1 - powers * SMOOTHING) / (1 - powers)
    return corrected


def suggested(rates: Sequence[float], losses: npt.NDArray[np.float64]) -> float | None:
    """Returns the rate at which the loss falls fastest on its way down; None where it never falls."""
    lowest = int(np.nanargmin(losses))
    slopes = np.gradient(losses[: lowest + 1]) if lowest > UNSETTLED else np.zeros(1)
    if not (slopes[UNSETTLED:] < 0).any():
        return None
    return float(rates[UNSETTLED + int(np.argmin(slopes[UNSETTLED:]))])


@dataclass(frozen=True)
class BatchTrial:
    """One batch size: how fast it trains, and how much GPU memory that takes (bytes; 0 on a CPU)."""

    batch_size: int
    images_per_second: float
    memory: int


def batch_sizes(data: ProcessedSet, config: TrainConfig, smallest: int = 8) -> Iterator[BatchTrial]:
    """Trains for some seconds with ever larger batches, twice as large each, and yields what each gave.

    It ends before the first batch that is larger than the training split, or than the memory of the GPU. (Lightning's
    own finder looks for the latter alone, which a CPU's memory answers by killing the process, and never asks whether
    a larger batch is any faster.)

    Raises:
        UserError: If there is nothing to train on, or the trainer asks for several devices.
    """
    precision = _prepare(data, config)
    for size in itertools.takewhile(
        lambda size: size <= len(data.split("train")), (smallest * 2**power for power in itertools.count())
    ):
        trial = dataclasses.replace(config, batch_size=size)
        try:
            yield _timed(data, trial, precision)
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            return


def images_per_second(data: ProcessedSet, config: TrainConfig) -> float:
    """Trains for some seconds, and returns how many images a second that were; nothing is kept.

    Raises:
        UserError: If there is nothing to train on, or the trainer asks for several devices.
    """
    return _timed(data, config, _prepare(data, config)).images_per_second


def best_batch_size(trials: list[BatchTrial]) -> int:
    """Returns the smallest size that trains almost as fast as the fastest: smaller ones take more steps an epoch."""
    enough = NEAR_BEST * max(trial.images_per_second for trial in trials)
    return min(trial.batch_size for trial in trials if trial.images_per_second >= enough)


def _prepare(data: ProcessedSet, config: TrainConfig) -> str:
    if hardware.world_size(config.trainer) > 1:
        raise UserError("train.trainer: trials run on one device: give train.trainer=auto with the trial")
    build.check_splits(data, config.batch_size, 1)
    return hardware.prepare(config.trainer, config.threads)


class _Clock(Callback):
    """Measures the steps after the first few, and stops when it has seen enough."""

    def __init__(self) -> None:
        self.images = 0
        self.seconds = 0.0
        self._steps = 0
        self._started = 0.0

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *of_batch: Any) -> None:
        batch = of_batch[1]
        self._steps += 1
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.perf_counter()
        if self._steps <= WARM_UP:
            self._started = now
        else:
            self.images += len(batch[1])
            self.seconds = now - self._started
        trainer.should_stop = self.seconds > SECONDS_EACH


def _timed(data: ProcessedSet, config: TrainConfig, precision: str) -> BatchTrial:
    clock = _Clock()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    module: ClassifierModule = build.network(data, config)
    train_loader, _ = build.loaders(data, config)
    with tempfile.TemporaryDirectory() as folder, quiet():
        trainer = pl.Trainer(
            **placement(config.trainer, precision, 1),
            default_root_dir=folder,
            enable_progress_bar=False,
            enable_checkpointing=False,
            max_epochs=MOST_EPOCHS,
            callbacks=[clock],
        )
        trainer.fit(module, train_loader)
    memory = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    return BatchTrial(config.batch_size, clock.images / max(clock.seconds, 1e-9), memory)


def draw(curve: RateCurve, output: Path) -> None:
    """Draws the curve as PNG: loss against learning rate, the suggestion marked."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), dpi=144, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.semilogx(curve.rates, curve.losses, color="#1f5fa8")
    axes.set_xlabel("learning rate")
    axes.set_ylabel("training loss, smoothed")
    start = curve.losses[0]
    axes.set_ylim(min(curve.losses) - 0.05 * start, start * 1.3)  # where it explodes says nothing more
    if curve.suggestion is not None:
        axes.axvline(curve.suggestion, color="#c4480f", linestyle="--")
        axes.annotate(
            f"steepest: {curve.suggestion:.2g}",
            (curve.suggestion, start * 1.2),
            (6, 0),
            textcoords="offset points",
            color="#c4480f",
        )
    axes.spines[["top", "right"]].set_visible(False)
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    files.write_bytes(output, stream.getvalue())
