"""Verbs around training: features, find-lr, find-batch-size."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from sightline.cli.base import MODELS, TRAIN, app, echo
from sightline.core.errors import UserError, fault, not_installed


@app.command(rich_help_panel=MODELS, short_help="Write a trained network's embeddings of images.")
def features(
    model: Annotated[Path, typer.Argument(help="The trained model: the folder models.", metavar="MODEL_FOLDER")],
    data: Annotated[
        Path, typer.Argument(help="The preprocessed images: the folder data/processed.", metavar="PROCESSED_FOLDER")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The Parquet file to write.")],
    batch_size: Annotated[int, typer.Option("--batch-size", "-b", min=1, help="Images per batch.")] = 256,
) -> None:
    """Write a trained network's embedding of each image, with id, label and split: one row per image."""
    try:
        from sightline.models.embeddings import write_embeddings
    except ModuleNotFoundError as error:
        raise not_installed(error.name, "pipeline") from None

    try:
        count = write_embeddings(model, data, output, batch_size)
    except OSError as error:
        raise fault(error) or UserError(f"--output {output}: {error.strerror}") from None
    echo(f"{count} images -> {output}", err=True)


Changes = Annotated[
    list[str] | None,
    typer.Argument(help="Settings to try, such as train/model=resnet18 or train.batch_size=128.", metavar="KEY=VALUE"),
]


@app.command("find-lr", rich_help_panel=TRAIN, short_help="Find a learning rate.")
def find_lr(
    changes: Changes = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The plot to write.")] = Path("find_lr.png"),
    steps: Annotated[int, typer.Option("--steps", "-n", min=20, help="Training steps.")] = 100,
) -> None:
    """Find a learning rate: train briefly while it rises, and see where the loss falls fastest.

    Uses the settings of params.yaml, overridden by KEY=VALUE, on data/processed; keeps only the plot and a run in
    MLflow.
    """
    composed, section, data, made_with = _training(changes)
    from sightline import tracking
    from sightline.stages.train.tuner import draw, learning_rates

    curve = learning_rates(data, section, steps)
    draw(curve, output)
    tracker = tracking.start_trial("find-lr", composed, made_with)
    tracker.log_curve("find_lr_loss", curve.losses)
    tracker.log_curve("find_lr_rate", curve.rates)
    tracker.log_artifact(output)
    tracker.finish()
    if curve.suggestion is None:
        raise UserError(f"the loss never falls between learning rates {curve.rates[0]:g} and {curve.rates[-1]:g}")
    echo(f"steepest descent at train.lr={curve.suggestion:.2g} -> {output}")


@app.command("find-batch-size", rich_help_panel=TRAIN, short_help="Find a batch size.")
def find_batch_size(changes: Changes = None) -> None:
    """Find a batch size: train for a few seconds with each, and measure images per second.

    Uses the settings of params.yaml, overridden by KEY=VALUE, on data/processed.
    """
    composed, section, data, made_with = _training(changes)
    from sightline import tracking
    from sightline.stages.train.tuner import batch_sizes, best_batch_size

    trials = []
    echo(f"{'batch size':>10}  {'images/s':>10}  {'GPU memory':>10}")
    for trial in batch_sizes(data, section):
        trials.append(trial)
        memory = f"{trial.memory / 2**30:.2f} GiB" if trial.memory else "-"
        echo(f"{trial.batch_size:>10}  {trial.images_per_second:>10,.0f}  {memory:>10}")
    if not trials:
        raise UserError("no batch size could be trained: too few training images, or too little memory")
    best = best_batch_size(trials)
    tracker = tracking.start_trial("find-batch-size", composed, made_with)
    tracker.log_metrics({f"images_per_second/batch_{t.batch_size}": t.images_per_second for t in trials})
    tracker.finish()
    echo(f"train.batch_size={best}: larger ones are hardly faster; scale train.lr with it")


def _training(changes: list[str] | None) -> tuple[Any, Any, Any, Any]:
    """Returns the composed configuration with changes, its train section, the processed set, and the set's settings."""
    try:
        from sightline.config import compose, other_sections
        from sightline.datasets import data_settings
        from sightline.datasets.processed_set import ProcessedSet
        from sightline.models import start_model
        from sightline.stages.train.config import TrainConfig
    except ModuleNotFoundError as error:
        raise not_installed(error.name, "pipeline") from None

    params, words = compose.read_params(), changes or []
    other_sections.refuse(words, ("train",), params)
    composed = compose.compose_with(params, words)
    section, data = compose.typed(TrainConfig, composed.train, "train"), ProcessedSet(Path("data/processed"))
    if section.start_from is not None:
        start = start_model.require_start(json.loads(Path("data/weights.json").read_bytes())["start"])
        section = dataclasses.replace(section, start_from=str(start.folder))
    return composed, section, data, data_settings.load_settings(Path(), data.digest)
