"""train: data/processed -> models/model.safetensors, models/model.json, reports/history.csv, and an MLflow run.

A debug run (`train.debug`) started by hand leaves the project's model alone. Started by DVC, it is an experiment like
any other: recorded as a debug run, and undone by `dvc checkout` or the next `dvc repro`.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from sightline.config.stage_runner import Context, stage_main
from sightline.core import cpu_threads, distributed, progress
from sightline.core.package_imports import loading
from sightline.datasets import data_settings
from sightline.stages.train.config import TrainConfig

DATA = Path("data/processed")
WEIGHTS = Path("data/weights.json")
MODEL = Path("models")
HISTORY = Path("reports/history.csv")
DEBUG = Path("debug")


def run(config: TrainConfig, context: Context) -> None:
    """Trains and writes the model."""
    # Imported here, because it takes ten seconds: --help and configuration errors are fast.
    with loading("PyTorch"):
        from sightline.stages.train import hardware
        from sightline.stages.train.stage import TrainingRun
        from sightline.stages.train.tracked import train_tracked

    start = json.loads((context.root / WEIGHTS).read_bytes())["start"] if config.start_from is not None else None
    training = TrainingRun(context.root / DATA, config, start)
    if distributed.rank() > 0:  # started by torchrun or srun; rank 0 writes and reports
        training.join()
        return
    output = place(config, context)
    if hardware.on_cpu(config.trainer):
        say(cpu_threads.idle("train.threads", config.threads, hardware.world_size(config.trainer)))
    progress.step("opening a run in MLflow")
    made_with = data_settings.load_settings(context.root, training.data.digest)
    train_tracked(training, output / MODEL, output / HISTORY, context.config, context.overrides, made_with)


def place(config: TrainConfig, context: Context) -> Path:
    """Returns the folder to write outputs below, and prints a note for a debug run."""
    debug = config.debug
    if not debug.active:
        return context.output
    kind = "train.debug_options" if debug.name == "none" else f"train.debug={debug.name}"
    if os.environ.get("DVC_STAGE"):  # DVC requires the stage's outputs
        say(f"{kind}: a debug run; models/ contains its model until params.yaml no longer sets it")
        return context.output
    say(f"{kind}: a debug run; it writes to {DEBUG}, and models/ stays unchanged")
    return DEBUG


def say(line: str | None) -> None:
    """Prints a line, if there is one."""
    if line:
        progress.write_line(f"train: {line}", sys.stdout)


if __name__ == "__main__":
    stage_main("train", TrainConfig, run)
