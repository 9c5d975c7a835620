"""The pace of this machine in the stages of a run, measured on a few steps, and run times estimated from it."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightline.config.compose import compose, saved_overrides, typed
from sightline.config.location import conf_folder
from sightline.core import cpu_threads

if TYPE_CHECKING:
    from sightline.datasets.processed_set import ProcessedSet
    from sightline.stages.baseline.config import BaselineConfig
    from sightline.stages.ingest.config import IngestConfig
    from sightline.stages.train.config import TrainConfig

STARTS = 6.5
"""Time of all stages except their work on images, in multiples of the start-up time of a stage's libraries."""
LEAST_EPOCHS = 5
LEAST_STEPS = 800
"""Steps of training that are enough, in however few epochs."""
FORWARD = 1 / 3
"""Work for a forward pass of an image, relative to a training step."""
LOOKS = {"all": 1.0, "held_out": 1.0, "proven": 12.0, "corrupted": 2.0}
"""Looks that evaluation and export take at an image: for novelty, scores, parity with each format, robustness."""
PROVEN = 1000
"""Images of validation and test, at most, on which export compares the bundle with the network."""
CORRUPTED = 200 * 50
"""Corrupted images that evaluation scores: each of 200 test images in ten ways at five severities."""
PARTS = (250, 1000)
"""Images that are read to time it."""
ROUNDS = 2
"""Times that the steps are timed: the slowest counts."""


@dataclass(frozen=True)
class Workload:
    """The images that a run works on.

    Attributes:
        images: All.
        training: Those that it trains on.
        validating: Those that it validates on after each epoch.
        testing: Those that it tests on.
        batch_size: Images of a training step.
    """

    images: int
    training: int
    validating: int
    testing: int = 0
    batch_size: int = 32

    @property
    def least_epochs(self) -> int:
        """Epochs that a training should have at least."""
        return min(LEAST_EPOCHS, max(1, -(-LEAST_STEPS * self.batch_size // self.training)))


@dataclass(frozen=True)
class Lighter:
    """A setting that makes the network faster: fewer channels, or no training of pretrained layers.

    Attributes:
        key: The setting.
        value: Its value.
        training: Images a second in training with it, at the pace's `side`.
        epochs: Epochs that it takes; None for as many as were chosen.
    """

    key: str
    value: Any
    training: float
    epochs: int | None = None


@dataclass(frozen=True)
class Effort:
    """The extent of a training: epochs, pixels of a side, whether of the lighter network, images for the baselines."""

    epochs: int
    side: int
    lighter: bool = False
    fitted: int = 0


@dataclass(frozen=True)
class Pace:
    """The pace of this machine.

    Attributes:
        start: Seconds that a stage's libraries take to start.
        preparing: Seconds that reading and preparing an image takes.
        training: Images a second in training, at `side`.
        side: Pixels.
        lighter: A faster network; None where there is none.
        baselines: Seconds that the baselines take for an image that they are fitted on.
        others: Share of the machine's processors that other programs had meanwhile.
    """

    start: float
    preparing: float
    training: float
    side: int
    lighter: Lighter | None = None
    baselines: float = 0.0
    others: float = 0.0

    def epoch(self, work: Workload, side: int, lighter: bool = False) -> float:
        """Returns the seconds that an epoch with images of a size takes."""
        return (work.training + FORWARD * work.validating) * self._step(side, lighter)

    def expected(self, work: Workload, effort: Effort) -> float:
        """Returns the seconds that `dvc repro` is expected to take."""
        held_out = work.validating + work.testing
        looks = (
            LOOKS["all"] * (work.training + held_out)
            + LOOKS["held_out"] * held_out
            + LOOKS["proven"] * min(PROVEN, held_out)
            + LOOKS["corrupted"] * CORRUPTED * (work.testing > 0)
        )
        return (
            STARTS * self.start
            + work.images * self.preparing
            + effort.fitted * self.baselines
            + effort.epochs * self.epoch(work, effort.side, effort.lighter)
            + looks * FORWARD * self._step(effort.side, effort.lighter)
        )

    def _step(self, side: int, lighter: bool) -> float:
        """Returns the seconds that training on an image takes."""
        faster = self.lighter if lighter else None
        return (side / self.side) ** 2 / (self.training if faster is None else faster.training)


def measure_pace(raw: Path, settings: Mapping[str, Mapping[str, Any]], folder: Path, reading: float) -> Pace:
    """Measures this machine, by some steps of the training that was chosen on a sample of the images.

    Args:
        raw: The sample's raw set.
        settings: The project's, by section.
        folder: An empty folder to work in.
        reading: Seconds that reading an image of the sample took.
    """
    from sightline.stages.baseline.config import BaselineConfig
    from sightline.stages.preprocess.config import PreprocessConfig
    from sightline.stages.preprocess.stage import preprocess

    conf = conf_folder()
    config = compose(saved_overrides(settings, conf), conf)
    section = typed(PreprocessConfig, config.preprocess, "preprocess")
    before = _processor_times()
    begun = time.perf_counter()
    libraries = "import torch, pytorch_lightning, mlflow, sklearn.svm, matplotlib.figure"
    subprocess.run([sys.executable, "-c", libraries], check=True, capture_output=True)
    start = time.perf_counter() - begun
    begun = time.perf_counter()
    count = int(preprocess(raw, section, folder)["images"])
    preparing = (time.perf_counter() - begun) / count

    from sightline.datasets.processed_set import ProcessedSet
    from sightline.stages.train.config import TrainConfig
    from sightline.stages.train.tuner import images_per_second

    data, train = ProcessedSet(folder), typed(TrainConfig, config.train, "train")

    def speed(config: TrainConfig) -> float:
        return min(images_per_second(data, config) for _ in range(ROUNDS))

    training = speed(train)
    lighter = None
    if settings["train"]["recipe"] == "finetune":
        lighter = Lighter("train.recipe", "probe", training / FORWARD, 1)
    elif settings["train"]["model"] == "cnn":
        options = settings["train"]["model_options"]
        options = {**options, "width": int(options["width"]) // 2}
        slim = compose(
            saved_overrides({**settings, "train": {**settings["train"], "model_options": options}}, conf), conf
        )
        lighter = Lighter("train.model_options", options, speed(typed(TrainConfig, slim.train, "train")))
    baselines = _baseline_pace(data, typed(BaselineConfig, config.baseline, "baseline"), folder / "baselines")
    all_, busy, own = (now - then for now, then in zip(_processor_times(), before, strict=True))
    others = min(1.0, max(0.0, busy - own) / all_)
    return Pace(start, reading + preparing, training, section.size, lighter, baselines, others)


def reading_pace(config: IngestConfig, folder: Path) -> float:
    """Returns the seconds that ingestion takes for one image more: of a part of the images beyond those of a few.

    Args:
        config: The ingest section, without a limit.
        folder: A folder to work in.
    """
    from sightline.sources import open_source
    from sightline.stages.ingest.stage import ingest

    seconds, images = [], []
    for limit in PARTS:
        out = folder / f"raw-{limit}"
        out.mkdir()
        part = dataclasses.replace(config, limit=limit, corrections=None, additions=None, unknown=None)
        begun = time.perf_counter()
        images.append(int(ingest(open_source(part), part, out)["inputs"]))
        seconds.append(time.perf_counter() - begun)
    if images[1] <= images[0]:  # there are no more
        return seconds[1] / images[1]
    return max(0.0, seconds[1] - seconds[0]) / (images[1] - images[0])


def _baseline_pace(data: ProcessedSet, config: BaselineConfig, out: Path) -> float:
    """Returns the seconds that the baselines take for an image that they are fitted on, methods side by side."""
    from sightline.stages.baseline.stage import run_methods

    quick = dataclasses.replace(config, robustness_images=0, learning_curve=None)
    results = run_methods(data, quick, out)
    seconds = [each.fit_seconds for each in results] or [0.0]
    return max(max(seconds), sum(seconds) / cpu_threads.available()) / len(data.originals("train"))


def _processor_times() -> tuple[float, float, float]:
    """Returns the machine's processor seconds so far: all of them, those that were used, and those used from here."""
    import psutil

    times, own = psutil.cpu_times(), os.times()
    everything = sum(times)
    idle = times.idle + getattr(times, "iowait", 0.0)
    return everything, everything - idle, own.user + own.system + own.children_user + own.children_system
