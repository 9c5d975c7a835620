"""Short trials before training, to choose the learning rate and the batch size."""

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
SMOOTHING = 0.98  # as in Lightning's finder
UNSETTLED = 10  # number of first steps whose average is of too few losses to have a meaningful slope
SECONDS_EACH = 2.0  # time to measure for each batch size
WARM_UP = 3  # batches that are not timed because they include one-time initialisation
MOST_EPOCHS = 10_000  # enough even for a set of one or two batches: the clock ends the trial
NEAR_BEST = 0.95


@dataclass(frozen=True)
class RateCurve:
    """The result of a learning-rate range test (Smith 2017, "Cyclical learning rates for training neural networks").

    Attributes:
        rates: The learning rates, one per step, rising exponentially.
        losses: The smoothed training loss after each step.
        suggestion: The rate at which the loss falls fastest; None if it never falls.
    """

    rates: list[float]
    losses: list[float]
    suggestion: float | None


def learning_rates(data: ProcessedSet, config: TrainConfig, steps: int) -> RateCurve:
    """Runs a learning-rate range test with Lightning's finder; nothing is kept.

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
    vars(module)["learning_rate"] = config.lr  # Lightning requires the attribute; ours is in the configuration
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
    """Returns the smoothed losses of Lightning's finder without their bias at the start.

    The finder averages exponentially from 0 and divides by 1 - b^(step + 1), but its step is already the next one: the
    first loss is halved, and the curve seems to rise.
    """
    powers = SMOOTHING ** np.arange(1, len(smoothed) + 1)
    corrected: npt.NDArray[np.float64] = np.asarray(smoothed, np.float64) * (1 - powers * SMOOTHING) / (1 - powers)
    return corrected


def suggested(rates: Sequence[float], losses: npt.NDArray[np.float64]) -> float | None:
    """Returns the rate at which the loss falls fastest before its minimum; None if it never falls."""
    lowest = int(np.nanargmin(losses))
    slopes = np.gradient(losses[: lowest + 1]) if lowest > UNSETTLED else np.zeros(1)
    if not (slopes[UNSETTLED:] < 0).any():
        return None
    return float(rates[UNSETTLED + int(np.argmin(slopes[UNSETTLED:]))])


@dataclass(frozen=True)
class BatchTrial:
    """Training speed with a batch size, and the GPU memory that it takes (bytes; 0 on a CPU)."""

    batch_size: int
    images_per_second: float
    memory: int


def batch_sizes(data: ProcessedSet, config: TrainConfig, smallest: int = 8) -> Iterator[BatchTrial]:
    """Trains for some seconds with batch sizes that double each time, and yields the result of each.

    It ends before a batch would be larger than the training split or would not fit into the GPU's memory. (Lightning's
    own finder only searches for the memory limit, which on a CPU means that the process is killed, and does not check
    whether larger batches are any faster.)

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
    """Trains for some seconds and returns the number of images per second; nothing is kept.

    Raises:
        UserError: If there is nothing to train on, or the trainer asks for several devices.
    """
    return _timed(data, config, _prepare(data, config)).images_per_second


def best_batch_size(trials: list[BatchTrial]) -> int:
    """Returns the smallest size almost as fast as the fastest one, since smaller sizes take more steps per epoch."""
    enough = NEAR_BEST * max(trial.images_per_second for trial in trials)
    return min(trial.batch_size for trial in trials if trial.images_per_second >= enough)


def _prepare(data: ProcessedSet, config: TrainConfig) -> str:
    if hardware.world_size(config.trainer) > 1:
        raise UserError("train.trainer: trials run on one device: give train.trainer=auto with the trial")
    build.check_splits(data, config.batch_size, 1)
    return hardware.prepare(config.trainer, config.threads)


class _Clock(Callback):
    """Times the steps after the warm-up, and stops training after `SECONDS_EACH`."""

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
    """Draws the curve as PNG: loss over learning rate, with the suggestion marked."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), dpi=144, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.semilogx(curve.rates, curve.losses, color="#1f5fa8")
    axes.set_xlabel("learning rate")
    axes.set_ylabel("training loss, smoothed")
    start = curve.losses[0]
    axes.set_ylim(min(curve.losses) - 0.05 * start, start * 1.3)  # cut off where the loss diverges
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
