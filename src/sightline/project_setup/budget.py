"""A time budget for `dvc repro`: what this machine manages, from a few timed steps, and the settings that fit."""

from __future__ import annotations

import dataclasses
import os
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
from sightline.project_setup.choice import Choice

STARTS = 6.0
"""Time of all stages beside their work on each image, in starts of a stage's libraries: measured on the digits."""
LEAST_EPOCHS = 5
FORWARD = 1 / 3
"""Work on an image that is only looked at, of that on one that is trained on."""
BUSY = 0.2
"""Share of the machine that other programs may have before it is worth a line."""
ROUNDS = 2
"""Times that the steps are timed: the slowest counts."""
_SIDES = (96, 64, 48, 32)
_UNITS = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True)
class Workload:
    """The images that a run works on: all, those that it trains on, those that it validates on after each epoch."""

    images: int
    training: int
    validating: int


@dataclass(frozen=True)
class Pace:
    """The pace of this machine.

    Attributes:
        start: Seconds that a stage's libraries take to start.
        preparing: Seconds that reading and preparing an image takes.
        training: Images a second in training, at `side`.
        side: Pixels.
        others: Share of the machine's processors that other programs had meanwhile.
    """

    start: float
    preparing: float
    training: float
    side: int
    others: float = 0.0

    def epoch(self, work: Workload, side: int) -> float:
        """Returns the seconds that an epoch with pictures of a size takes."""
        return (work.training + FORWARD * work.validating) / self.training * (side / self.side) ** 2

    def expected(self, work: Workload, epochs: int, side: int) -> float:
        """Returns the seconds that `dvc repro` is expected to take."""
        return STARTS * self.start + work.images * self.preparing + epochs * self.epoch(work, side)


def seconds(text: str) -> float:
    """Reads a budget.

    >>> seconds("10m"), seconds("90s"), seconds("1.5h")
    (600.0, 90.0, 5400.0)

    Raises:
        UserError: If it is none.
    """
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([smh])", text.strip())
    if match is None or not float(match[1]):
        raise UserError(f"--budget {text}: not a duration, such as --budget 10m, 90s or 1h")
    return float(match[1]) * _UNITS[match[2]]


def within_budget(chosen: Mapping[str, Choice], pace: Pace, work: Workload, budget: float) -> dict[str, Choice]:
    """Returns the choices that a budget changes: fewer epochs, smaller pictures; none where everything fits.

    Args:
        chosen: The choices of the rules.
        pace: The pace of this machine.
        work: The images.
        budget: Seconds.

    Raises:
        UserError: If not even the least fits.
    """
    rest = budget - pace.expected(work, 0, pace.side)
    wanted, side = epochs_of(chosen), pace.side
    sides = [side, *(smaller for smaller in _SIDES if smaller < side and side > 32)]
    possible = {px: int(rest / pace.epoch(work, px)) for px in sides}
    # The largest pictures that leave more than half of the wanted epochs; else the smallest ones.
    px = next((px for px in sides if 2 * possible[px] >= wanted), sides[-1])
    epochs = min(wanted, possible[px])
    if epochs < min(LEAST_EPOCHS, wanted):
        least = pace.expected(work, min(LEAST_EPOCHS, wanted), sides[-1])
        raise UserError(f"--budget: {budget / 60:g} min is too little on this machine: --budget {least / 60 + 1:.0f}m")
    changed = {}
    speed = f"{budget / 60:g} min at {pace.training:,.0f} images/s of {side} px"
    if px != side:
        changed["preprocess.size"] = Choice(px, f"what fits into {speed}")
    if epochs != wanted:
        reason = f"what fits into {speed}; without the budget {wanted}"
        changed |= {"train.max_epochs": Choice(epochs, reason), "train.patience": Choice(epochs, "as many")}
    return changed


def epochs_of(chosen: Mapping[str, Choice]) -> int:
    """Returns the epochs that a training takes; a probe looks at each image once."""
    return 1 if chosen["train.recipe"].value == "probe" else int(chosen["train.max_epochs"].value)


def budget_lines(chosen: Mapping[str, Choice], pace: Pace, work: Workload, budget: float) -> list[str]:
    """Returns what a person should know of a plan within a budget: how long it will take, and what that counts on."""
    expected = pace.expected(work, epochs_of(chosen), int(chosen["preprocess.size"].value))
    result = [f"{'budget':<16} dvc repro is expected to take {expected / 60:.1f} min of {budget / 60:g}"]
    if pace.others > BUSY:
        result.append(
            f"{'':<16} other programs have {pace.others:.0%} of this machine: it counts on that staying so, and takes "
            "longer if it gets more"
        )
    return result


def without_slower(choice: Choice) -> Choice:
    """Returns a choice without a doubt whose other value would take longer than the budget."""
    return dataclasses.replace(choice, doubt=None) if choice.doubt and choice.doubt.slower else choice


def measure_pace(raw: Path, settings: Mapping[str, Mapping[str, Any]], folder: Path, reading: float) -> Pace:
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
    training = min(images_per_second(data, train) for _ in range(ROUNDS))
    all_, busy, own = (now - then for now, then in zip(_processor_times(), before, strict=True))
    return Pace(start, reading + preparing, training, section.size, min(1.0, max(0.0, busy - own) / all_))


def _processor_times() -> tuple[float, float, float]:
    """Returns the machine's processor seconds so far: all of them, those that were used, and those used from here."""
    import psutil

    times, own = psutil.cpu_times(), os.times()
    everything = sum(times)
    idle = times.idle + getattr(times, "iowait", 0.0)
    return everything, everything - idle, own.user + own.system + own.children_user + own.children_system
