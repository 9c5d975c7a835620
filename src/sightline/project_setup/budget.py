"""A time budget for `dvc repro`: what this machine manages, from a few timed steps, and the settings that fit."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sightline.config.compose import compose, saved_overrides, typed
from sightline.config.location import conf_folder
from sightline.core.errors import UserError
from sightline.project_setup.rules import Choice

STARTS = 6.0
"""Time of all stages beside their work on each image, in starts of a stage's libraries: measured on the digits."""
LEAST_EPOCHS = 5
_SIDES = (96, 64, 48, 32)
_UNITS = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True)
class Pace:
    """What this machine manages.

    Attributes:
        start: Seconds that a stage's libraries take to start.
        preparing: Seconds that reading and preparing an image takes.
        training: Images a second in training, at `side`.
        side: Pixels.
    """

    start: float
    preparing: float
    training: float
    side: int


def seconds(text: str) -> float:
    """Reads a budget.

    >>> seconds("10m"), seconds("90s"), seconds("1.5h")
    (600.0, 90.0, 5400.0)

    Raises:
        UserError: If it is none.
    """
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([smh])", text.strip())
    if match is None or not float(match[1]):
        raise UserError(f"--budget {text}: not a time, as --budget 10m, 90s or 1h")
    return float(match[1]) * _UNITS[match[2]]


def fitted(chosen: Mapping[str, Choice], pace: Pace, images: int, training: int, budget: float) -> dict[str, Choice]:
    """Returns the choices that a budget changes: fewer epochs, smaller pictures; none where everything fits.

    Args:
        chosen: What the rules have chosen.
        pace: What this machine manages.
        images: Images in all.
        training: Images in the training split.
        budget: Seconds.

    Raises:
        UserError: If not even the least fits.
    """
    rest = budget - STARTS * pace.start - images * pace.preparing
    if chosen["train.recipe"].value == "probe":
        return {}
    wanted, side = int(chosen["train.max_epochs"].value), pace.side
    sides = [side, *(smaller for smaller in _SIDES if smaller < side and side > 32)]
    possible = {px: int(rest / (training / pace.training * (px / side) ** 2)) for px in sides}
    # The largest pictures that leave more than half of the wanted epochs; else the smallest ones.
    px = next((px for px in sides if 2 * possible[px] >= wanted), sides[-1])
    epochs = min(wanted, possible[px])
    if epochs < LEAST_EPOCHS:
        least = STARTS * pace.start + images * pace.preparing
        least += LEAST_EPOCHS * training / pace.training * (sides[-1] / side) ** 2
        raise UserError(f"--budget: {budget / 60:g} min is too little on this machine: --budget {least / 60 + 1:.0f}m")
    changed = {}
    speed = f"{budget / 60:g} min at {pace.training:,.0f} images/s of {side} px"
    if px != side:
        changed["preprocess.size"] = Choice(px, f"what fits into {speed}")
    if epochs != wanted:
        reason = f"what fits into {speed}; without the budget {wanted}"
        changed |= {"train.max_epochs": Choice(epochs, reason), "train.patience": Choice(epochs, "as many")}
    return changed


def without_slower(choice: Choice) -> Choice:
    """Returns a choice without a doubt whose other value would take longer than the budget."""
    return dataclasses.replace(choice, doubt=None) if choice.doubt and choice.doubt.slower else choice


def measure(raw: Path, settings: Mapping[str, Mapping[str, Any]], folder: Path, reading: float) -> Pace:
    """Measures this machine, by some steps of the training that was chosen on a sample of the images.

    Args:
        raw: The sample's raw set.
        settings: The project's, by section.
        folder: An empty folder to work in.
        reading: Seconds that reading an image of the sample took.
    """
    from sightline.stages.preprocess.config import PreprocessConfig
    from sightline.stages.preprocess.stage import preprocess

    conf = conf_folder()
    config = compose(saved_overrides(settings, conf), conf)
    section = typed(PreprocessConfig, config.preprocess, "preprocess")
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

    training = images_per_second(ProcessedSet(folder), typed(TrainConfig, config.train, "train"))
    return Pace(start, reading + preparing, training, section.size)
